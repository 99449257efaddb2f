package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// automatic is the value of -compare that chooses the base itself.
const automatic = "auto"

// variant is one of the systems that are compared.
type variant struct {
	*system
	name    string // column of the table
	results string // file in Go's benchmark format
	before  func() // prepares a round; may be nil
}

// twoVersions returns the commit that ref names, with its sources in the folder base, and the
// working tree with its uncommitted changes. The function removes the sources of the commit.
func twoVersions(ctx context.Context, root, dir, ref string) (base, tree *variant, remove func(), err error) {
	root, err1 := filepath.Abs(root)
	dir, err2 := filepath.Abs(dir)
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, nil, fmt.Errorf("find the folders: %w", err)
	}
	commit, err := baseCommit(ctx, root, ref)
	if err != nil {
		return nil, nil, nil, err
	}
	now, err := git(ctx, root, "describe", "--always", "--dirty", "--exclude=*")
	if err != nil {
		return nil, nil, nil, err
	}
	sources := filepath.Join(dir, "base", "sources")
	remove = func() { _ = os.RemoveAll(sources) } // the next run removes what is left
	remove()
	if err := os.MkdirAll(sources, 0o750); err != nil {
		return nil, nil, nil, fmt.Errorf("create the folder: %w", err)
	}
	// Unlike a worktree of git, an archive leaves no trace in the repository if this program is killed.
	script := `set -o pipefail; git -C "$1" archive "$2" | tar -x -C "$3"`
	if out, err := exec.CommandContext(ctx, "bash", "-c", script, "bash", root, commit, sources).CombinedOutput(); err != nil { //nolint:gosec // The script is a constant.
		remove()
		return nil, nil, nil, fmt.Errorf("unpack the sources of %s: %w: %s", commit, err, out)
	}
	base = &variant{system: systemAt(sources, filepath.Join(dir, "base")), name: "base " + commit, results: filepath.Join(dir, "base.txt")}
	tree = &variant{system: systemAt(root, dir), name: "tree " + now, results: filepath.Join(dir, "tree.txt")}
	return base, tree, remove, nil
}

// baseCommit returns the short ID of the commit that ref names. The automatic choice is the commit
// where the branch left main; on main, it is the last commit if the working tree has changes, and
// the last but one otherwise.
func baseCommit(ctx context.Context, root, ref string) (string, error) {
	if ref == automatic {
		head, err := git(ctx, root, "rev-parse", "HEAD")
		if err != nil {
			return "", err
		}
		ref, err = git(ctx, root, "merge-base", "HEAD", "main")
		if err != nil || ref == head { // without a branch main, HEAD is treated like main
			changes, err := git(ctx, root, "status", "--porcelain")
			if err != nil {
				return "", err
			}
			if ref = "HEAD"; changes == "" {
				ref = "HEAD^"
			}
		}
	}
	commit, err := git(ctx, root, "rev-parse", "--verify", "--short", "--end-of-options", ref+"^{commit}")
	if err != nil {
		return "", fmt.Errorf("%s is not a commit of this repository: %w", ref, err)
	}
	return commit, nil
}

// git returns what git prints.
func git(ctx context.Context, root string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output() //nolint:gosec // No argument comes from a client.
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(failed.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// inTurn calls do for each variant, in every second round in reverse order: a drift of the
// machine affects all alike.
func inTurn(round int, variants []*variant, do func(*variant) error) error {
	order := slices.Clone(variants)
	if round%2 == 1 {
		slices.Reverse(order)
	}
	for _, v := range order {
		if err := do(v); err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
	}
	return nil
}

// begin starts the results with lines of Go's benchmark format.
func (v *variant) begin(lines string) error {
	if err := os.WriteFile(v.results, []byte(lines), 0o600); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// record appends lines to the results.
func (v *variant) record(lines string) error {
	file, err := os.OpenFile(v.results, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteString(lines)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// benchstat returns the comparison of the results with those of the first variant: for each value the medians with their
// 95 % confidence intervals, and the difference, or ~ where it may be noise.
func benchstat(ctx context.Context, variants ...*variant) (string, error) {
	args := []string{"tool", "benchstat"}
	for _, v := range variants {
		args = append(args, v.name+"="+v.results)
	}
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // The files are ours.
	cmd.Dir, cmd.Env = filepath.Join(variants[len(variants)-1].root, "deployments", "tools", "benchstat"), append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("benchstat: %w\n%s", err, out)
	}
	return string(out), nil
}
