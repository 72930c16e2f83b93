package gitops

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// The layout is that of Argo CD's resource_customizations, so that the directory can be put there as it is.
const argo = "argocd/streampipeline.io/StreamPipeline"

type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type healthTest struct {
	HealthStatus health `json:"healthStatus"`
	InputPath    string `json:"inputPath"`
}

type action struct {
	Name     string `json:"name"`
	Disabled bool   `json:"disabled"`
}

type discoveryTest struct {
	InputPath string   `json:"inputPath"`
	Result    []action `json:"result"`
}

type actionTest struct {
	Action             string `json:"action"`
	InputPath          string `json:"inputPath"`
	ExpectedOutputPath string `json:"expectedOutputPath"`
}

type healthTests struct {
	Tests []healthTest `json:"tests"`
}

type actionTests struct {
	DiscoveryTests []discoveryTest `json:"discoveryTests"`
	ActionTests    []actionTest    `json:"actionTests"`
}

func script(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(argo, path))
	must(t, err)
	return string(text)
}

// argoHealth is what Argo CD shows. What is being deleted it judges itself, before it asks a script.
func argoHealth(t *testing.T, c Case) health {
	t.Helper()
	if c.Object.GetDeletionTimestamp() != nil {
		return health{"Progressing", "Pending deletion"}
	}
	var result health
	run(t, script(t, "health.lua"), c.Object.Object, &result)
	return result
}

func actions(t *testing.T, object map[string]any) map[string]bool {
	t.Helper()
	found := map[string]struct{ Disabled bool }{}
	run(t, script(t, "actions/discovery.lua"), object, &found)
	disabled := map[string]bool{}
	for name, one := range found {
		disabled[name] = one.Disabled
	}
	return disabled
}

func TestArgoShowsWhatKstatusComputes(t *testing.T) {
	fits := map[string][]string{
		"Current": {"Healthy"}, "InProgress": {"Progressing", "Suspended"}, "Failed": {"Degraded"}, "Terminating": {"Progressing"},
	}
	for _, c := range sample(t) {
		shown := argoHealth(t, c)
		if want := fits[c.wanted()]; !slices.Contains(want, shown.Status) {
			t.Errorf("%s (%s): %s, not %v", c.Case, c.condition("Ready").Reason, shown.Status, want)
		}
		if c.seen() && c.Object.GetDeletionTimestamp() == nil && shown.Message != c.condition("Ready").Message {
			t.Errorf("%s: %q is not the message of Ready", c.Case, shown.Message)
		}
	}
}

func TestArgoOffersToRetryOnlyWhereTheOperatorWould(t *testing.T) {
	offered := map[string]int{}
	for _, c := range sample(t) {
		message := c.text("status", "offsetReset", "error", "message")
		for name, disabled := range actions(t, c.Object.Object) {
			if !disabled {
				offered[name]++
			}
			if gone := c.Object.GetDeletionTimestamp() != nil; gone && !disabled {
				t.Errorf("%s: %s of what is deleted", c.Case, name)
			} else if !gone && name == "retry" && c.seen() && strings.Contains(message, "set onUnknownOutcome: Retry") == disabled {
				t.Errorf("%s: retry is disabled=%v, and the operator says %q", c.Case, disabled, message)
			}
			if final := c.stands() == "Verified" || c.stands() == "Skipped" || c.stands() == "Failed"; name == "skip" && final && !disabled {
				t.Errorf("%s: it is over, and can be skipped", c.Case)
			}
		}
	}
	if offered["retry"] == 0 || offered["skip"] == 0 {
		t.Errorf("never offered: %v", offered)
	}
}

// Argo's own tests of a resource, in its own format.
func TestArgoHealthByItsOwnTests(t *testing.T) {
	var tests healthTests
	must(t, yaml.UnmarshalStrict([]byte(script(t, "health_test.yaml")), &tests))
	for _, test := range tests.Tests {
		var result health
		run(t, script(t, "health.lua"), object(t, test.InputPath), &result)
		if result != test.HealthStatus {
			t.Errorf("%s: %v, not %v", test.InputPath, result, test.HealthStatus)
		}
	}
}

func TestArgoActionsByTheirOwnTests(t *testing.T) {
	var tests actionTests
	must(t, yaml.UnmarshalStrict([]byte(script(t, "actions/action_test.yaml")), &tests))
	for _, test := range tests.DiscoveryTests {
		expected := map[string]bool{}
		for _, one := range test.Result {
			expected[one.Name] = one.Disabled
		}
		if found := actions(t, object(t, "actions/"+test.InputPath)); !maps.Equal(found, expected) {
			t.Errorf("%s: %v, not %v", test.InputPath, found, expected)
		}
	}
	for _, test := range tests.ActionTests {
		var after map[string]any
		run(t, script(t, "actions/"+test.Action+"/action.lua"), object(t, "actions/"+test.InputPath), &after)
		if expected := object(t, "actions/"+test.ExpectedOutputPath); !reflect.DeepEqual(after, expected) {
			t.Errorf("%s of %s: %v, not %v", test.Action, test.InputPath, after, expected)
		}
	}
}

func object(t *testing.T, path string) map[string]any {
	t.Helper()
	var found map[string]any
	must(t, yaml.Unmarshal([]byte(script(t, path)), &found))
	return found
}
