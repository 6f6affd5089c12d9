package notify

import (
	"fmt"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// The answer is that of the reference implementation in JavaScript.
func TestSignatureHasTheKnownAnswer(t *testing.T) {
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	got, err := signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func TestSecretsAreThoseOfTheStandardAndDoNotPrint(t *testing.T) {
	secret := newSecret()
	if _, err := standardwebhooks.NewWebhook(secret); err != nil || !strings.HasPrefix(secret, "whsec_") || len(secret) != len("whsec_")+44 {
		t.Errorf("%q: %v", secret, err)
	}
	if text := fmt.Sprintf("%v %+v %s", secrets{Now: secret}, secrets{Now: secret}, secrets{Now: secret}); strings.Contains(text, secret) {
		t.Errorf("secrets print: %s", text)
	}
}
