package main

import (
	"os"
	"time"
)

// setting is what a seed runs on. It follows from the seed's number alone, so
// that a handful of seeds in a row has met every kind.
type setting struct {
	names     []string      // of the services, each called as its program is, and a number
	postgres  bool          // the jobs are in PostgreSQL, else in SQLite
	retention time.Duration // JOB_RETENTION; 0: jobs stay for the run
	poison    int           // images that kill whoever analyses them
	strict    bool          // nothing here makes a message come twice: one dead letter for each poison
	smallDisk bool          // the job store lies on a disk that can be filled
}

// shortLived is JOB_RETENTION in every fourth run.
const shortLived = 20 * time.Second

// settingOf tells what the seed runs on: every third on PostgreSQL with two
// gateways.
func settingOf(seed uint64) setting {
	s := setting{
		names:     []string{"gateway", "analyzer-1", "analyzer-2", "processor"},
		smallDisk: mayMount(),
	}
	if seed%3 == 0 {
		s.names = []string{"gateway-1", "gateway-2", "analyzer", "processor-1", "processor-2"}
		s.postgres, s.smallDisk = true, false
	}
	if seed%4 == 3 {
		s.retention = shortLived
	}
	switch seed % 10 {
	case 2:
		s.poison, s.strict = 1, true
	case 7:
		s.poison = 2
	}
	return s
}

// mayMount tells whether a small disk can be made for the job store.
func mayMount() bool { return os.Getuid() == 0 }

func (s setting) String() string {
	text := "SQLite"
	if s.postgres {
		text = "PostgreSQL"
	}
	if s.retention > 0 {
		text += ", jobs go after " + s.retention.String()
	}
	if s.poison > 0 {
		text += ", poison"
	}
	return text
}
