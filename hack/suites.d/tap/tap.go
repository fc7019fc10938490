// Package tap writes the Test Anything Protocol. It has what runtime-tools' programs call of the package that they
// import under this name, which Debian has no package of.
package tap

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// T is one stream of results.
type T struct {
	Writer io.Writer
	count  *int
	mark   string
}

// New gives a stream to standard output.
func New() *T {
	return &T{Writer: os.Stdout, count: new(int)}
}

func (t *T) line(format string, values ...interface{}) {
	fmt.Fprintf(t.Writer, format+"\n", values...)
}

// Header begins the stream; with a count of zero the plan comes from AutoPlan, at the end.
func (t *T) Header(count int) {
	t.line("TAP version 13")
	if count > 0 {
		t.line("1..%d", count)
	}
}

// AutoPlan says how many results there were.
func (t *T) AutoPlan() {
	t.line("1..%d", *t.count)
}

// Ok writes one result.
func (t *T) Ok(passed bool, description string) bool {
	*t.count++
	word := "ok"
	if !passed {
		word = "not ok"
	}
	t.line("%s %d -%s %s", word, *t.count, t.mark, description)
	return passed
}

// Pass writes a good result.
func (t *T) Pass(description string) { t.Ok(true, description) }

// Fail writes a bad one.
func (t *T) Fail(description string) { t.Ok(false, description) }

// Todo gives the same stream, whose results are known to be bad.
func (t *T) Todo() *T {
	return &T{Writer: t.Writer, count: t.count, mark: " # TODO"}
}

// Skip writes results that were not found out.
func (t *T) Skip(count int, reason string) {
	for ; count > 0; count-- {
		*t.count++
		t.line("ok %d # SKIP %s", *t.count, reason)
	}
}

// Diagnostic writes a remark.
func (t *T) Diagnostic(remark string) {
	t.line("# %s", strings.ReplaceAll(remark, "\n", "\n# "))
}

// Diagnosticf writes a formatted remark.
func (t *T) Diagnosticf(format string, values ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, values...))
}

// YAML writes what belongs to the last result; JSON is YAML, too.
func (t *T) YAML(value interface{}) error {
	text, err := json.MarshalIndent(value, "  ", "  ")
	if err == nil {
		t.line("  ---\n  %s\n  ...", text)
	}
	return err
}
