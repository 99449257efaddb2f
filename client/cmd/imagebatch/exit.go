package main

import (
	"context"
	"errors"
	"io/fs"
	"net/http"

	"github.com/imagebatch/imagebatch/client"
)

// The exit codes of all commands.
const (
	exitOK           = 0
	exitImagesFailed = 1   // some images failed
	exitUsage        = 2   // wrong command line, or a request that the gateway rejects as wrong
	exitUnreachable  = 3   // no connection, or the gateway is busy: try again
	exitJobFailed    = 4   // every image of a job failed, or a job was cancelled
	exitRefused      = 5   // the gateway refused access, or the size of the request
	exitLocal        = 6   // a local file could not be read or written
	exitInterrupted  = 130 // SIGINT
	exitTerminated   = 143 // SIGTERM
)

// outcome is the end of a command that did its work, with images or jobs that failed. Its
// text has been printed.
type outcome struct{ code int }

func (*outcome) Error() string { return "" }

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// localError is a local file that could not be read or written.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// interrupted is the end by a signal.
type interrupted struct{ code int }

func (*interrupted) Error() string { return "interrupted" }

// exitCode returns the exit code for the error of a command.
func exitCode(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	if i, ok := interruption(ctx); ok {
		return i.code
	}
	return severityOf(err)
}

func severityOf(err error) int {
	if o, ok := errors.AsType[*outcome](err); ok {
		return o.code
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		switch {
		case e.Status == http.StatusUnauthorized, e.Status == http.StatusForbidden, e.Status == http.StatusRequestEntityTooLarge:
			return exitRefused
		case e.Status == http.StatusTooManyRequests, e.Status == http.StatusRequestTimeout, e.Status >= http.StatusInternalServerError:
			return exitUnreachable
		}
		return exitUsage
	}
	if _, ok := errors.AsType[*localError](err); ok {
		return exitLocal
	}
	if _, ok := errors.AsType[*client.ImageError](err); ok {
		return exitLocal
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return exitLocal
	}
	return exitUnreachable // every other error is one of the connection
}

// ranks orders the exit codes of several parts of a command: the first that occurs counts.
var ranks = []int{exitUsage, exitRefused, exitUnreachable, exitLocal, exitJobFailed, exitImagesFailed, exitOK}

// worse returns the exit code of two parts together.
func worse(a, b int) int {
	for _, code := range ranks {
		if a == code || b == code {
			return code
		}
	}
	return a
}

// codeOf returns the exit code for the state of a job.
func codeOf(job client.Job) int {
	switch {
	case job.Status == client.Failed, job.Status == client.Cancelled:
		return exitJobFailed
	case job.Failed > 0:
		return exitImagesFailed
	}
	return exitOK
}

// message returns the text for an error, or nothing if it has been printed.
func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
