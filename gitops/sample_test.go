// Package gitops judges objects of every stage and every reason with the libraries of the tools that show them in a Git workflow.
// objects.json is written by the operator's own code (src/messages/objects.rs).
package gitops

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Case is an object as the API server has it, and what led to it.
type Case struct {
	Case   string
	Object unstructured.Unstructured
}

type condition struct {
	Type, Status, Reason, Message string
	ObservedGeneration            int64
}

func sample(t *testing.T) []Case {
	t.Helper()
	text, err := os.ReadFile("objects.json")
	must(t, err)
	var cases []Case
	must(t, json.Unmarshal(text, &cases))
	if len(cases) < 100 {
		t.Fatalf("only %d objects: the sample is not whole", len(cases))
	}
	return cases
}

func (c Case) condition(kind string) condition {
	all, _, _ := unstructured.NestedSlice(c.Object.Object, "status", "conditions")
	text, _ := json.Marshal(all)
	var conditions []condition
	_ = json.Unmarshal(text, &conditions)
	for _, found := range conditions {
		if found.Type == kind {
			return found
		}
	}
	return condition{}
}

func (c Case) text(path ...string) string {
	found, _, _ := unstructured.NestedString(c.Object.Object, path...)
	return found
}

func (c Case) asks() bool {
	_, found, _ := unstructured.NestedMap(c.Object.Object, "spec", "offsetReset")
	return found
}

func (c Case) seen() bool {
	seen, _, _ := unstructured.NestedInt64(c.Object.Object, "status", "observedGeneration")
	return seen == c.Object.GetGeneration()
}

func (c Case) edited() bool {
	ready := c.condition("Ready")
	return ready.Reason == "RequestEditedWithoutNewId" && ready.ObservedGeneration == c.Object.GetGeneration()
}

// stands says how far the request is, as a person would.
func (c Case) stands() string {
	stage, ready := c.text("status", "offsetReset", "stage"), c.condition("Ready")
	ended := stage == "Verified" || stage == "Sent" || stage == "Skipped" || stage == "Failed"
	switch {
	case c.Object.GetDeletionTimestamp() != nil:
		return "deleted, not gone yet"
	case c.edited():
		return "edited after its end, the same id"
	case !c.seen():
		return "not looked at yet"
	case ready.Reason == "InvalidObject":
		return "cannot be read"
	case !c.asks():
		return "nothing asked for"
	case ended && c.condition("Reconciling").Status == "True":
		return stage + ", the pipeline to be started again"
	}
	return stage
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// generated compares a file with what it has to be; UPDATE=1 writes it.
func generated(t *testing.T, path string, text []byte) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		must(t, os.WriteFile(path, text, 0o644))
	}
	if found, _ := os.ReadFile(path); !bytes.Equal(found, text) {
		t.Errorf("%s is out of date (`make generate`)", path)
	}
}
