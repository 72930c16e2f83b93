package gitops

import (
	"testing"

	flux "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// kstatus is what Flux, Helm and `kubectl wait`-like tools compute; Flux keeps a copy of the library.
func kstatus(t *testing.T, c Case) string {
	t.Helper()
	result, err := status.Compute(&c.Object)
	must(t, err)
	ofFlux, err := flux.Compute(&c.Object)
	must(t, err)
	if result.Status.String() != ofFlux.Status.String() {
		t.Errorf("%s: %s by kstatus, %s by Flux's copy", c.Case, result.Status, ofFlux.Status)
	}
	return result.Status.String()
}

// wanted is the contract, from where the request stands alone.
func (c Case) wanted() string {
	stage := c.text("status", "offsetReset", "stage")
	switch {
	case c.Object.GetDeletionTimestamp() != nil:
		return "Terminating"
	case c.edited():
		return "Failed"
	case !c.seen():
		return "InProgress"
	case c.condition("Ready").Reason == "InvalidObject":
		return "Failed"
	case c.asks() && (stage == "Failed" || stage == "Held" || stage == "OfAnotherVersion"):
		if c.condition("Reconciling").Status == "True" {
			return "InProgress"
		}
		return "Failed"
	case !c.asks(), stage == "Verified", stage == "Planned", stage == "Sent", stage == "Skipped":
		if c.condition("Ready").Status == "True" {
			return "Current"
		}
		return "InProgress"
	}
	return "InProgress"
}

func TestKstatusIsCurrentExactlyWhenTheDeclaredStateHolds(t *testing.T) {
	told := map[string]bool{}
	for _, c := range sample(t) {
		got, want := kstatus(t, c), c.wanted()
		told[got] = true
		if got != want {
			t.Errorf("%s (%s, %s): %s, not %s", c.Case, c.stands(), c.condition("Ready").Reason, got, want)
		}
		if got == "Current" && !c.seen() {
			t.Errorf("%s: Current before the operator has looked", c.Case)
		}
	}
	for _, status := range []string{"Current", "InProgress", "Failed", "Terminating"} {
		if !told[status] {
			t.Errorf("no object is %s: the sample is not whole", status)
		}
	}
}
