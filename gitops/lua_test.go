package gitops

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
)

// run runs a script as Argo CD runs one out of its ConfigMap: the same interpreter and JSON, the base and table libraries, a second of
// time, the object as the global `obj`. The os library, cut to time and date there, is left out: the scripts need none of it.
func run(t *testing.T, script string, object map[string]any, result any) {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		must(t, state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(ctx)
	text, err := json.Marshal(object)
	must(t, err)
	value, err := luajson.Decode(state, text)
	must(t, err)
	state.SetGlobal("obj", value)
	must(t, state.DoString(script))
	text, err = luajson.Encode(state.Get(-1))
	must(t, err)
	must(t, json.Unmarshal(text, result))
}
