package rabbitmq_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// permitted is a test user with patterns for the permissions configure, write and read.
type permitted struct {
	name     string
	patterns [3]string
}

// kinds are the permissions, in the order of the patterns.
var kinds = [3]string{"configure", "write", "read"}

// addUsers creates the users and deletes them after the test. One call creates all of
// them, because rabbitmqctl takes a second each time.
func addUsers(t *testing.T, users ...permitted) {
	t.Helper()
	var add, remove []string
	for _, u := range users {
		quoted := []string{fmt.Sprintf("<<%q>>", u.name), fmt.Sprintf("<<%q>>", vhost(t))}
		for _, p := range u.patterns {
			quoted = append(quoted, fmt.Sprintf("<<%q>>", p))
		}
		add = append(add, fmt.Sprintf(`rabbit_auth_backend_internal:add_user(%s, <<"secret">>, <<"test">>)`, quoted[0]),
			fmt.Sprintf(`rabbit_auth_backend_internal:set_permissions(%s, <<"test">>)`, strings.Join(quoted, ", ")))
		remove = append(remove, fmt.Sprintf(`rabbit_auth_backend_internal:delete_user(%s, <<"test">>)`, quoted[0]))
	}
	rabbitmqctl(t, "eval", strings.Join(add, ", ")+".")
	t.Cleanup(func() { rabbitmqctl(t, "eval", strings.Join(remove, ", ")+".") })
}

// urlOf returns the URL of the server with the user's credentials.
func urlOf(t *testing.T, user string) string {
	t.Helper()
	u, err := url.Parse(serverURL(t))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, "secret")
	return u.String()
}

// service describes how one of the services uses the broker, with which permissions.
type service struct {
	permitted
	role              string
	declare           bool
	unresponsiveAfter time.Duration // 0: the default
}

// services returns the services in docs/operations.md, each with its own test user.
func services(t *testing.T) (list []service) {
	t.Helper()
	for i, row := range documented(t) {
		role := strings.TrimPrefix(row[1], definitionsVhost+"-")
		if i > 3 {
			continue // analyzer and processor are the same in both
		}
		list = append(list, service{permitted{role + "-" + rand.Text(), [3]string(row[2:])}, role, i == 0, 0})
	}
	return list
}

// open starts the Broker of the service.
func (s service) open(t *testing.T) *rabbitmq.Broker {
	t.Helper()
	b, err := rabbitmq.Open(rabbitmq.Config{
		URLs: []string{urlOf(t, s.name)}, Name: t.Name(), WorkQueues: pipelineQueues,
		Declare: s.declare, Watch: s.role == "gateway" && !s.declare, UnresponsiveAfter: s.unresponsiveAfter,
	}, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return b
}

// consumes returns the queues that the service consumes.
func (s service) consumes() []string {
	var queues []string
	for _, queue := range map[string][]string{
		"gateway": {pipeline.ImageProcessed.Name}, "analyzer": {pipeline.ImageUpload.Name, pipeline.ImageDescribed.Name}, "processor": {pipeline.MetadataGenerated.Name},
	}[s.role] {
		queues = append(queues, queue, broker.QuarantineQueue(queue))
	}
	if s.role == "gateway" {
		queues = append(queues, broker.DeadResults)
	}
	return queues
}

// work starts all consumers, subscriptions and hooks of the service.
func (s service) work(t *testing.T, b *rabbitmq.Broker) (hooked chan bool, got chan string, resumed chan struct{}, heard chan string) {
	t.Helper()
	hooked, got, resumed, heard = make(chan bool, 64), make(chan string, 1024), make(chan struct{}, 64), make(chan string, 64)
	if s.role == "gateway" {
		b.OnSession("imagebatch.epoch."+s.name, "", func(_ context.Context, fresh bool) error {
			into(hooked, fresh)
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- b.Subscribe(ctx, pipeline.JobEvents, func() { into(resumed, struct{}{}) }, func(body []byte) { into(heard, string(body)) })
		}()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Subscribe = %v", err)
			}
		})
	}
	for _, queue := range s.consumes() {
		brokertest.Start(t, b, queue, 1, func(_ context.Context, d broker.Delivery) error {
			_ = d.Ack() // its session may be over
			into(got, queue+" "+string(d.Body))
			return nil
		})
	}
	return hooked, got, resumed, heard
}

// into sends v unless the channel is full.
func into[T any](ch chan<- T, v T) {
	select {
	case ch <- v:
	default:
	}
}

// TestLeastPermissions performs all operations of each service, as a user with exactly
// the permissions in docs/operations.md.
func TestLeastPermissions(t *testing.T) {
	needTool(t) // Not parallel: the gateway takes dead letters that other tests wait for.
	all := services(t)
	var users []permitted
	for _, s := range all {
		users = append(users, s.permitted)
	}
	addUsers(t, users...)
	t.Cleanup(func() { forgetPipeline(t) })
	for _, s := range all { // The first service declares the queues for all.
		s.unresponsiveAfter = unresponsiveAfter
		t.Run(s.role, func(t *testing.T) { s.doesAll(t) })
	}
}

// doesAll performs all operations of the service and verifies that it is ready.
func (s service) doesAll(t *testing.T) {
	b := s.open(t)
	hooked, got, resumed, heard := s.work(t, b)
	if s.role == "gateway" {
		brokertest.Receive(t, hooked, "the hook")
		brokertest.Receive(t, resumed, "the subscription")
		if err := b.Broadcast(t.Context(), pipeline.JobEvents, []byte(s.name)); err != nil {
			t.Errorf("Broadcast = %v", err)
		}
		for brokertest.Receive(t, heard, "the broadcast of "+s.role) != s.name { //nolint:revive // Skips the broadcasts of other services.
		}
		for _, queue := range pipelineQueues {
			brokertest.Publish(t, b, broker.DeadQueue(queue), brokertest.Text(s.name))
			err := b.Browse(t.Context(), broker.DeadQueue(queue), broker.MaxBrowse, func(_ context.Context, l broker.Letter) error { return l.Ack() })
			if err != nil {
				t.Errorf("%s: Browse = %v", s.role, err)
			}
		}
		if _, err := b.Depth(t.Context(), broker.Backlog(pipelineQueues...)...); err != nil {
			t.Errorf("%s: Depth = %v", s.role, err)
		}
		for _, spec := range broker.Topology(pipelineQueues...) {
			if states, err := b.Inspect(t.Context(), spec.Name); err != nil || len(states) != 1 {
				t.Errorf("%s: Inspect of %s = %v, %v", s.role, spec.Name, states, err)
			}
		}
	}
	for _, queue := range s.consumes() {
		brokertest.Publish(t, b, queue, brokertest.Text(s.name))
		for body := ""; !strings.HasSuffix(body, s.name); {
			body = brokertest.Receive(t, got, queue+" at "+s.role)
		}
	}
	brokertest.Await(t, s.role+" is ready", func() bool { return b.Ready() == nil })
}

func forgetPipeline(t *testing.T) {
	t.Helper()
	forget(t, pipelineQueues...)
	ch := admin(t)
	_ = ch.ExchangeDelete(pipeline.JobEvents, false, false)
}

// TestEveryPermissionIsNeeded removes one name at a time from the permissions, and
// verifies that the service is not ready and reports which permission is missing, and
// where.
func TestEveryPermissionIsNeeded(t *testing.T) {
	needTool(t)
	t.Cleanup(func() { forgetPipeline(t) })
	declaring, err := rabbitmq.Open(rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: pipelineQueues}, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	brokertest.Publish(t, declaring, broker.DeadResults, brokertest.Text("x"))
	if err := declaring.Broadcast(t.Context(), pipeline.JobEvents, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := declaring.Close(); err != nil {
		t.Fatal(err)
	}

	type missing struct {
		service
		kind, name string
	}
	var cases []missing
	var users []permitted
	for _, s := range services(t) {
		for i, pattern := range s.patterns {
			names := alternatives(t, pattern)
			for j, name := range names {
				m := missing{s, kinds[i], name}
				m.name, m.service.name = name, fmt.Sprint(s.name, "-", i, "-", j)
				if kinds[i] == "read" {
					m.unresponsiveAfter = unresponsiveAfter
				}
				m.patterns[i] = "^(" + strings.Join(slices.Delete(slices.Clone(names), j, j+1), "|") + ")$"
				cases, users = append(cases, m), append(users, m.permitted)
			}
		}
	}
	addUsers(t, users...)
	for _, m := range cases {
		t.Run(fmt.Sprintf("%s, declares %v, %s %s", m.role, m.declare, m.kind, m.name), func(t *testing.T) {
			t.Parallel()
			b, last := m.open(t), error(nil)
			m.work(t, b)
			defer func() {
				if t.Failed() {
					t.Logf("Ready = %v", last)
				}
			}()
			brokertest.Await(t, "Ready reports the missing permission", func() bool {
				_ = b.Broadcast(t.Context(), pipeline.JobEvents, []byte("x")) // Ready reports the error
				last = b.Ready()
				return last != nil && reportsPermission(last, m.kind, m.name)
			})
		})
	}
}

// TestRefusedBroadcasts verifies that a refusal is noted even if the next broadcast opens a new channel at once.
func TestRefusedBroadcasts(t *testing.T) {
	t.Parallel()
	needTool(t)
	topic := brokertest.Topic(brokertest.Name())
	if err := admin(t).ExchangeDeclare(topic, "fanout", false, true, false, false, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin(t).ExchangeDelete(topic, false, false) })
	user := permitted{"broadcaster-" + rand.Text(), [3]string{"", `^amq\.default$`, ""}}
	addUsers(t, user)
	b, err := rabbitmq.Open(rabbitmq.Config{URLs: []string{urlOf(t, user.name)}}, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	for range 2 {
		brokertest.Await(t, "a broadcast is accepted", func() bool { return b.Broadcast(t.Context(), topic, []byte("x")) == nil })
		brokertest.Await(t, "the broker closes the channel", b.BroadcastChannelClosed)
	}
	if err := b.BroadcastRefused(); err == nil || !reportsPermission(err, "write", regexp.QuoteMeta(topic)) {
		t.Errorf("the noted refusal is %v, want one that names the missing permission", err)
	}
}

// reportsPermission reports whether the error names the permission on an object that
// matches the pattern.
func reportsPermission(err error, kind, pattern string) bool {
	for _, m := range regexp.MustCompile(`the user has no ([a-z, ]+) permission on (?:queue|exchange) (\S+):`).FindAllStringSubmatch(err.Error(), -1) {
		if strings.Contains(m[1], kind) && regexp.MustCompile("^(?:"+pattern+")$").MatchString(m[2]) {
			return true
		}
	}
	return false
}

// alternatives returns the names in ^(a|b|c)$, none for ^$.
func alternatives(t *testing.T, pattern string) []string {
	t.Helper()
	inner, ok := strings.CutPrefix(pattern, "^(")
	if inner = strings.TrimSuffix(inner, ")$"); !ok {
		if pattern != "^$" {
			t.Fatalf("docs/operations.md has the pattern %s, want \"^$\"", pattern)
		}
		return nil
	}
	return strings.Split(inner, "|")
}

// TestAccessDenied verifies that Ready reports a user without access to the vhost and a
// wrong user name.
func TestAccessDenied(t *testing.T) {
	t.Parallel()
	name := "no-access-" + rand.Text()
	rabbitmqctl(t, "eval", fmt.Sprintf(`rabbit_auth_backend_internal:add_user(<<%q>>, <<"secret">>, <<"test">>).`, name))
	t.Cleanup(func() { rabbitmqctl(t, "delete_user", name) })
	for want, as := range map[string]string{"NOT_ALLOWED - access to vhost ": urlOf(t, name), "username or password not allowed": urlOf(t, "nobody")} {
		b := openWith(t, rabbitmq.Config{URLs: []string{as}})
		brokertest.Await(t, want, func() bool {
			err := b.Ready()
			return err != nil && strings.Contains(err.Error(), want)
		})
	}
}

// TestMissingIsNamed deletes one queue or exchange at a time, and verifies that a
// service that may not declare reports which one is missing.
func TestMissingIsNamed(t *testing.T) {
	names := []func(q string) string{func(q string) string { return "exchange " + broker.DeadQueue(q) }}
	for i, spec := range broker.Topology("q") {
		if spec.Work == "q" { // The others are shared by all tests.
			names = append(names, func(q string) string { return broker.Topology(q)[i].Name })
		}
	}
	for _, of := range names {
		t.Run(of("q"), func(t *testing.T) {
			t.Parallel()
			q := brokertest.Name()
			declaring, err := rabbitmq.Open(rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}}, logger(t))
			if err != nil {
				t.Fatal(err)
			}
			brokertest.Publish(t, declaring, q, brokertest.Text("x"))
			if err := declaring.Close(); err != nil {
				t.Fatal(err)
			}
			ch, name := admin(t), of(q)
			if exchange, ok := strings.CutPrefix(name, "exchange "); ok {
				err = ch.ExchangeDelete(exchange, false, false)
			} else {
				_, err = ch.QueueDelete(name, false, false, false)
			}
			if err != nil {
				t.Fatal(err)
			}
			b := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Watch: true, WorkQueues: []string{q}})
			want := "missing queues that this service may not declare: " + name
			brokertest.Await(t, want, func() bool {
				err := b.Ready()
				return err != nil && strings.HasSuffix(err.Error(), want)
			})
		})
	}
}
