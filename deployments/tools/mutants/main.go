// Mutants tests the tests. Each file of its catalogue breaks one promise of the code in a few lines; the tests that are
// there for that promise must then fail. For each mutant it prints what it breaks and which test caught it, and at the
// very end one line
//
//	N caught, N survived
//
// It works in a copy of the checkout, uncommitted files and all, which it never changes. First the tests must pass there
// without any mutant. A mutant counts as caught only when a test failed: one whose place in the code is not found exactly
// once, one that does not build, and one that ends its tests in another way than by a test's own judgement say nothing
// about the tests, and are mistakes of the catalogue. They, and a mutant that survives, make it exit with 1.
//
//	mutants [-root DIR] [-copy DIR] [-catalogue DIR] [-timeout TIME] [-limit TIME] [NAME...]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	root := flags.String("root", ".", "the `checkout`, a git work tree")
	dir := flags.String("copy", "data/mutants", "the `folder` of its copy; one that stays keeps Go's cache warm")
	catalogue := flags.String("catalogue", "deployments/tools/mutants/catalogue", "the `folder` of the mutants")
	timeout := flags.Duration("timeout", 3*time.Minute, "the most that the tests of one mutant may take")
	limit := flags.Duration("limit", 30*time.Minute, "the most that all together may take")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	counts, err := judgeAll(ctx, *root, *dir, *catalogue, *timeout, flags.Args(), out)
	if err != nil {
		fmt.Fprintln(out, "mutants:", err)
	}
	fmt.Fprintf(out, "%d caught, %d survived\n", counts[caught], counts[survived])
	return err
}

// judgeAll judges the named mutants, or all, and counts the verdicts. Its error says what is not as it must be.
func judgeAll(ctx context.Context, root, dir, catalogue string, timeout time.Duration, names []string, out io.Writer) (map[verdict]int, error) {
	counts := map[verdict]int{}
	mutants, err := readCatalogue(catalogue, names)
	if err != nil {
		return counts, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return counts, err
	}
	if err := copyCheckout(ctx, root, dir); err != nil {
		return counts, err
	}
	// What can't apply is told before anything is run for minutes.
	var problems []error
	packages := map[string][]string{} // by what narrows their tests
	for _, m := range mutants {
		if _, err := m.apply(dir); err != nil {
			counts[misplaced]++
			problems = append(problems, fmt.Errorf("%s: %w", m.name, err))
		}
		packages[m.run] = append(packages[m.run], m.packages...)
	}
	if len(problems) > 0 {
		return counts, errors.Join(problems...)
	}
	began := time.Now()
	for _, pattern := range slices.Sorted(maps.Keys(packages)) {
		if r := baseline(ctx, dir, timeout, pattern, packages[pattern]); r.verdict != survived {
			return counts, fmt.Errorf("the tests do not pass without any mutant: %s\n%s", r, r.output)
		}
	}
	fmt.Fprintf(out, "The tests pass without any mutant (%.0fs).\n\n", time.Since(began).Seconds())

	for _, m := range mutants {
		began := time.Now()
		r, err := judge(ctx, dir, m, timeout)
		if ctx.Err() != nil {
			return counts, ctx.Err()
		}
		if err != nil {
			return counts, fmt.Errorf("%s: %w", m.name, err)
		}
		counts[r.verdict]++
		fmt.Fprintf(out, "%-28s %s\n%-28s %s, %.1fs\n", m.name, m.breaks, "", r, time.Since(began).Seconds())
		if r.verdict != caught {
			problems = append(problems, fmt.Errorf("%s: %s", m.name, r))
			fmt.Fprint(out, r.output)
		}
	}
	fmt.Fprintln(out)
	return counts, errors.Join(problems...)
}

// baseline runs tests without any mutant. What failed has another try: on a machine that is busy with other things a test
// that measures time may fail once. What passed is in Go's cache.
func baseline(ctx context.Context, dir string, timeout time.Duration, pattern string, packages []string) result {
	slices.Sort(packages)
	packages = slices.Compact(packages)
	r := test(ctx, dir, timeout, pattern, packages...)
	if r.verdict == caught {
		r = test(ctx, dir, timeout, pattern, packages...)
	}
	return r
}

// judge applies a mutant, runs its tests package by package until one catches it, and takes it out again.
func judge(ctx context.Context, dir string, m mutant, timeout time.Duration) (result, error) {
	changed, err := m.apply(dir)
	if err != nil {
		return result{verdict: misplaced}, err
	}
	defer changed.undo()
	if err := changed.write(); err != nil {
		return result{}, err
	}
	var r result
	for _, p := range m.packages {
		if r = test(ctx, dir, timeout, m.run, p); r.verdict != survived {
			break
		}
	}
	return r, nil
}
