package otlp

import (
	"strings"
	"testing"
)

func TestEndpointsAreAddressesWithoutSecrets(t *testing.T) {
	for _, good := range []string{"http://127.0.0.1:4318", "https://otlp.example.com/base", "http://collector:4318/"} {
		if _, err := ParseEndpoint(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "127.0.0.1:4318", "grpc://x:4317", "https://me:hunter2@x", "https://x?token=hunter2", "https://x#hunter2", "https://"} {
		if _, err := ParseEndpoint(bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestHeadersAreReadAsTheStandardHasThem(t *testing.T) {
	h, err := parseHeaders("Authorization=Bearer%20hunter2, x-scope = a=b ,")
	if err != nil || h.Get("Authorization") != "Bearer hunter2" || h.Get("X-Scope") != "a=b" || len(h) != 2 {
		t.Errorf("%v %v", h, err)
	}
	for _, bad := range []string{"hunter2", "=hunter2", "a=%hunter2"} {
		if _, err := parseHeaders(bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
