// SPDX-License-Identifier: Apache-2.0

// Command sdkapp is a program as a user would write it with Azure's own SDK: it knows nothing of Vaultferry, and finds its identity in the files and
// variables that its pod has.
//
//	sdkapp                        waits until it is told to end
//	sdkapp get VAULT-URL SECRET   prints a secret's value
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sdkapp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	switch {
	case len(args) == 0:
		<-ctx.Done()
		return nil
	case len(args) == 3 && args[0] == "get":
		return get(ctx, args[1], args[2], stdout)
	}
	return errors.New("usage: sdkapp [get VAULT-URL SECRET]")
}

// get reads the latest version of a secret. All about the identity comes from the environment.
func get(ctx context.Context, vault, name string, stdout io.Writer) error {
	const timeout = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	credential, err := azidentity.NewWorkloadIdentityCredential(nil)
	if err != nil {
		return err
	}
	client, err := azsecrets.NewClient(vault, credential, nil)
	if err != nil {
		return err
	}
	secret, err := client.GetSecret(ctx, name, "", nil)
	if err != nil {
		return err
	}
	if secret.Value == nil {
		return fmt.Errorf("the secret %s has no value", name)
	}
	_, err = io.WriteString(stdout, *secret.Value)
	return err
}
