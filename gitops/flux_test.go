package gitops

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	helm "github.com/fluxcd/helm-controller/api/v2"
	kustomization "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"sigs.k8s.io/yaml"
)

// recipes are the expressions of each file in flux/, read as Flux reads them: a field that it does not know is an error.
func recipes(t *testing.T) map[string]kustomize.HealthCheckExpressions {
	t.Helper()
	files, err := filepath.Glob("flux/*.yaml")
	must(t, err)
	found := map[string]kustomize.HealthCheckExpressions{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		for _, document := range strings.Split(string(text), "\n---\n") {
			for _, check := range checks(t, file, []byte(document)) {
				if check.APIVersion != "streampipeline.io/v1alpha1" || check.Kind != "StreamPipeline" {
					t.Errorf("%s: expressions for %s", file, check.Kind)
				}
				if before, is := found[file]; is && before != check.HealthCheckExpressions {
					t.Errorf("%s: the expressions differ within the file", file)
				}
				found[file] = check.HealthCheckExpressions
			}
		}
	}
	return found
}

func checks(t *testing.T, file string, document []byte) []kustomize.CustomHealthCheck {
	t.Helper()
	var about struct{ Kind string }
	must(t, yaml.Unmarshal(document, &about))
	var (
		k kustomization.Kustomization
		h helm.HelmRelease
	)
	switch about.Kind {
	case kustomization.KustomizationKind:
		must(t, yaml.UnmarshalStrict(document, &k))
	case helm.HelmReleaseKind:
		must(t, yaml.UnmarshalStrict(document, &h))
	default:
		t.Errorf("%s: a %q is not known here", file, about.Kind)
	}
	return append(k.Spec.HealthCheckExprs, h.Spec.HealthCheckExprs...)
}

func byExpressions(t *testing.T, c Case, exprs kustomize.HealthCheckExpressions) string {
	t.Helper()
	evaluator, err := cel.NewStatusEvaluator(&exprs)
	must(t, err)
	result, err := evaluator.Evaluate(context.Background(), &c.Object)
	if err != nil {
		t.Fatalf("%s: %v", c.Case, err)
	}
	return result.Status.String()
}

// takenOn: healthy once the operator has taken the request on, however long it then waits.
func (c Case) takenOn() string {
	switch {
	case !c.seen():
		return "InProgress"
	case c.asks() && c.text("status", "offsetReset", "stage") == "Waiting":
		return "Current"
	case c.wanted() == "Terminating":
		return "InProgress"
	}
	return c.wanted()
}

// proven: healthy only once the reset is proven; what moved nothing is a failure.
func (c Case) proven() string {
	stage := c.text("status", "offsetReset", "stage")
	switch {
	case !c.seen(), c.wanted() == "Terminating":
		return "InProgress"
	case c.wanted() == "Current" && c.asks() && (stage == "Skipped" || stage == "Planned"):
		return "Failed"
	case c.wanted() == "Current" && c.asks() && stage == "Sent":
		return "InProgress"
	}
	return c.wanted()
}

func TestFluxJudgesEveryObjectAsTheRecipeSays(t *testing.T) {
	all := recipes(t)
	for file, wanted := range map[string]func(Case) string{
		"flux/kustomization.yaml": Case.takenOn, "flux/helmrelease.yaml": Case.takenOn, "flux/kustomization-proven.yaml": Case.proven,
	} {
		exprs, is := all[file]
		if !is {
			t.Fatalf("%s has no expressions", file)
		}
		for _, c := range sample(t) {
			if got, want := byExpressions(t, c, exprs), wanted(c); got != want {
				t.Errorf("%s: %s (%s, %s): %s, not %s", file, c.Case, c.stands(), c.condition("Ready").Reason, got, want)
			}
		}
	}
}
