package main

import (
	"fmt"
	"strings"
)

// row is what is told of one kind.
type row struct {
	kind    string
	tried   int
	through []string
	alive   error // why honest work failed afterwards; nil: it did not
	skipped string
}

// table is what a run ends with.
type table struct {
	rows   []row
	memory string // of the processes that the tool started
}

func (t *table) String() string {
	var out strings.Builder
	for _, r := range t.rows {
		for _, what := range r.through {
			fmt.Fprintf(&out, "let through, %s: %s\n", r.kind, what)
		}
		if r.alive != nil {
			fmt.Fprintf(&out, "after %s: %v\n", r.kind, r.alive)
		}
	}
	fmt.Fprintf(&out, "%-30s %6s %8s %12s  %s\n", "kind", "tried", "refused", "let through", "service afterwards")
	var tried, through int
	whole := "alive"
	for _, r := range t.rows {
		if r.skipped != "" {
			fmt.Fprintf(&out, "%-30s %6s %8s %12s  %s\n", r.kind, "-", "-", "-", r.skipped)
			continue
		}
		alive := "alive"
		if r.alive != nil {
			alive, whole = "FAILS", "FAILS"
		}
		tried, through = tried+r.tried, through+len(r.through)
		fmt.Fprintf(&out, "%-30s %6d %8d %12d  %s\n", r.kind, r.tried, r.tried-len(r.through), len(r.through), alive)
	}
	fmt.Fprintf(&out, "%-30s %6d %8d %12d  %s\n", "all", tried, tried-through, through, whole)
	if t.memory != "" {
		fmt.Fprintln(&out, t.memory)
	}
	return out.String()
}

// bad reports whether the run is to fail.
func (t *table) bad() bool {
	for _, r := range t.rows {
		if len(r.through) > 0 || r.alive != nil || r.skipped == "" && r.tried == 0 {
			return true
		}
	}
	return false
}
