// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
)

// reviewLimit bounds an AdmissionReview. The API server takes objects of up to 3 MiB, and a review may hold two, with every byte escaped in
// the worst case that anybody has seen.
const reviewLimit = 8 << 20

// readAhead bounds the memory that a request gets for what it only says that it will bring.
const readAhead = 64 << 10

// readBody reads what a request brings.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limited := http.MaxBytesReader(w, r.Body, reviewLimit)
	var body bytes.Buffer
	if r.ContentLength > 0 {
		body.Grow(int(min(r.ContentLength, readAhead)) + bytes.MinRead) // ReadFrom wants that much room at the end
	}
	if _, err := body.ReadFrom(limited); err != nil {
		return nil, fmt.Errorf("reading the AdmissionReview: %w", err)
	}
	return body.Bytes(), nil
}

// decodeReview decodes an AdmissionReview. Its versions v1 and v1beta1 look the same on the wire.
func decodeReview(body []byte) (*admissionv1.AdmissionReview, error) {
	review := &admissionv1.AdmissionReview{}
	if err := json.Unmarshal(body, review); err != nil {
		return nil, fmt.Errorf("decoding the AdmissionReview: %w", err)
	}
	switch {
	case review.Kind != "AdmissionReview" || (review.APIVersion != "admission.k8s.io/v1" && review.APIVersion != "admission.k8s.io/v1beta1"):
		return nil, fmt.Errorf("want an AdmissionReview of admission.k8s.io/v1 or v1beta1, not %q of %q", review.Kind, review.APIVersion)
	case review.Request == nil:
		return nil, fmt.Errorf("the AdmissionReview has no request")
	}
	return review, nil
}

// answer turns a review into the one that carries the response.
func answer(review *admissionv1.AdmissionReview, response *admissionv1.AdmissionResponse) *admissionv1.AdmissionReview {
	response.UID = review.Request.UID
	return &admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: response}
}
