// SPDX-License-Identifier: Apache-2.0

package render

// ImportArgs are the arguments of ctr for importing a tar of images for
// kubelet's use. "-" is the standard input.
func ImportArgs(snapshotter, tar string) []string {
	args := []string{"--namespace", "k8s.io", "images", "import"}
	if snapshotter != "overlayfs" {
		args = append(args, "--local", "--snapshotter", snapshotter)
	}
	return append(args, tar)
}
