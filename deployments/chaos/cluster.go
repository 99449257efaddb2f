package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/deployments/network"
)

// cluster is a set of hosts in a network of their own, with one server of each cluster on a host:
// RabbitMQ on the first three, PostgreSQL on the first two, and MinIO on all four. HAProxy
// distributes the connections to MinIO and to the gateways.
type cluster struct {
	network *network.Network
	nodes   []*servers // by host, from 0
	proxy   *servers
	primary int // index of the host with PostgreSQL's primary
	front   string
}

const basePort = 5670 // ports of every host: servers.sh adds the offset of each server

// hosts are the numbers of hosts with each server.
var hosts = map[string]int{"rabbitmq": 3, "postgres": 2, "minio": 4}

// startCluster starts the servers of a cluster, each on a host of its own. The standby is a copy of
// the primary, so it starts last.
func startCluster(ctx context.Context, dir string) (_ *servers, err error) {
	c := &cluster{}
	s := &servers{dir: dir, vhost: "/", s3: "minio", cluster: c}
	if c.network, err = network.New(hosts["minio"]); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.call(ctx, "stop"))
		}
	}()
	drives, peers := make([]string, hosts["minio"]), make([]string, hosts["rabbitmq"])
	for i := range drives {
		node := filepath.Join(dir, fmt.Sprintf("host-%d", i+1))
		c.nodes = append(c.nodes, &servers{dir: node, rabbitmqctl: filepath.Join(node, "rabbitmqctl"), vhost: "/"})
		drives[i] = fmt.Sprintf("http://%s:%d%s/minio/data", c.addr(i), basePort+3, node)
		if i < len(peers) {
			peers[i] = c.addr(i)
		}
	}
	certificate, key := filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	if err := errors.Join(os.MkdirAll(dir, 0o755), c.certify(ctx, certificate, key)); err != nil { //nolint:gosec // PostgreSQL refuses to run as root, and its user must enter.
		return nil, err
	}
	for i, node := range c.nodes {
		place := fmt.Sprintf("netns=%s address=%s base=%d synchronous=yes certificate=%s key=%s\nrabbitmq_peers=(%s)\nminio_drives=(%s)\n",
			c.network.Namespace(i+1), c.addr(i), basePort, certificate, key, strings.Join(peers, " "), strings.Join(drives, " "))
		if err := errors.Join(os.Mkdir(node.dir, 0o755), //nolint:gosec // as above
			os.WriteFile(filepath.Join(node.dir, "place"), []byte(place), 0o600)); err != nil {
			return nil, err
		}
	}
	s.rabbitmqctl = c.nodes[0].rabbitmqctl
	err = s.call(ctx, "start rabbitmq minio")
	if err == nil {
		err = errors.Join(c.nodes[0].call(ctx, "start postgres"), c.follow(1, 0), c.nodes[1].call(ctx, "start postgres"))
	}
	if err != nil {
		return nil, err
	}
	for i, node := range c.nodes {
		if err := node.readEnv(); err != nil {
			return nil, err
		}
		if i < hosts["rabbitmq"] {
			u := node.brokers[0]
			u.Scheme, u.Host, u.RawQuery = "amqps", net.JoinHostPort(c.addr(i), fmt.Sprint(basePort+15)), "cacertfile="+certificate
			s.brokers = append(s.brokers, u)
		}
		if i < hosts["postgres"] {
			u := node.databases[0]
			u.RawQuery = "sslmode=verify-full&sslrootcert=" + certificate + "&target_session_attrs=read-write"
			s.databases = append(s.databases, u)
		}
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	s.certificate, s.authority = &pair, certificate
	s.key, s.secret = c.nodes[0].key, c.nodes[0].secret
	entry, err := freeAddr()
	s.storage = &url.URL{Scheme: "http", Host: entry}
	c.proxy = &servers{dir: filepath.Join(dir, "haproxy")}
	return s, err
}

func (c *cluster) addr(i int) string { return c.network.Addr(i + 1) }

// certify writes a self-signed certificate for all hosts and their wires, and its key.
func (c *cluster) certify(ctx context.Context, certificate, key string) error {
	names := []string{"IP:127.0.0.1"}
	for i := range c.nodes {
		names = append(names, "IP:"+c.addr(i))
	}
	_, err := command(ctx, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
		"-subj", "/CN=cluster", "-addext", "subjectAltName="+strings.Join(names, ","), "-out", certificate, "-keyout", key)
	return errors.Join(err, os.Chmod(key, 0o644)) //nolint:gosec // RabbitMQ may run as another user, and the key is worthless.
}

// follow makes the next PostgreSQL that is created on host i the standby of that on the other host.
func (c *cluster) follow(i, primary int) error {
	return os.WriteFile(filepath.Join(c.nodes[i].dir, "primary"), []byte(c.addr(primary)), 0o644) //nolint:gosec // An address.
}

// distribute starts HAProxy, or starts it again, with the addresses of MinIO and of the gateways of a run.
func (c *cluster) distribute(ctx context.Context, storage string, gateways []string) (err error) {
	if c.front, err = freeAddr(); err != nil {
		return err
	}
	minios := make([]string, len(c.nodes))
	for i := range minios {
		minios[i] = net.JoinHostPort(c.addr(i), fmt.Sprint(basePort+3))
	}
	backend := func(name, mode, check string, addrs []string) string {
		var text strings.Builder
		fmt.Fprintf(&text, "backend %s\n  mode %s\n  balance roundrobin\n  option httpchk\n  http-check send meth GET uri %s ver HTTP/1.1 hdr Host localhost\n"+
			"  option redispatch\n  retries 2\n", name, mode, check)
		for i, addr := range addrs {
			fmt.Fprintf(&text, "  server %s%d %s check inter 500ms fall 2 rise 1\n", name, i+1, addr)
		}
		return text.String()
	}
	config := fmt.Sprintf("# responds at http://%[1]s/minio/health/live\ndefaults\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n"+
		"frontend s3\n  mode http\n  bind %[1]s\n  default_backend minio\nfrontend api\n  mode tcp\n  bind %[2]s\n  default_backend gateway\n%[3]s%[4]s",
		storage, c.front, backend("minio", "http", "/minio/health/live", minios), backend("gateway", "tcp", "/readyz", gateways))
	err = errors.Join(os.MkdirAll(c.proxy.dir, 0o750), os.WriteFile(filepath.Join(c.proxy.dir, "haproxy.cfg"), []byte(config), 0o600))
	return errors.Join(err, c.proxy.call(ctx, "stop haproxy"), c.proxy.call(ctx, "start haproxy"))
}

// call runs a verb of servers.sh on all hosts that have the servers, concurrently, or rabbitmqctl
// on the first.
func (c *cluster) call(ctx context.Context, verb string, names []string) error {
	errs := make([]error, len(c.nodes))
	var running sync.WaitGroup
	for i, node := range c.nodes {
		present := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return i >= hosts[name] })
		if len(names) == 0 || len(present) > 0 {
			running.Go(func() { errs[i] = node.call(ctx, verb+" "+strings.Join(present, " ")) })
		}
	}
	running.Wait()
	if verb == "stop" && len(names) == 0 {
		if c.proxy != nil {
			errs = append(errs, c.proxy.call(ctx, "stop"))
		}
		errs = append(errs, c.network.Close())
	}
	return errors.Join(errs...)
}

// onHosts causes the fault by a command on some hosts, drawn from those with the server, and undoes
// it by another.
func onHosts(server string, count int, do, undo string) effect {
	return func(ctx context.Context, r *run, b injection) (func() error, error) {
		c := r.servers.cluster
		chosen := b.draw.Perm(hosts[server])[:count]
		r.note("fault", b.String(), "hosts ", chosen)
		all := func(line string) error {
			var running sync.WaitGroup
			errs := make([]error, count)
			for at, i := range chosen {
				running.Go(func() { errs[at] = c.nodes[i].call(ctx, line) })
			}
			running.Wait()
			return errors.Join(errs...)
		}
		return func() error {
			err := all(undo)
			if server == "rabbitmq" {
				r.rebalance(ctx)
			}
			return err
		}, all(do)
	}
}

// rebalance does what an operator does after the return of a node of RabbitMQ, which does not move the
// leaders of queues back by itself. An error is only noted, because another fault may be in progress.
func (r *run) rebalance(ctx context.Context) {
	_, err := r.servers.ctl(ctx, "eval", `rabbit_amqqueue:rebalance(quorum, ".*", ".*").`)
	r.note("operator", "rebalance leaders", err)
}

// partitioned reports whether a node of RabbitMQ does not see all others, or does not respond. RabbitMQ 4.0 can stay so after a
// network failure, until an operator restarts a node: its queues work, but queues are created and deleted on one side only.
func (c *cluster) partitioned(ctx context.Context) bool {
	return c != nil && slices.ContainsFunc(c.nodes[:hosts["rabbitmq"]], func(node *servers) bool {
		running, err := node.ctl(ctx, "eval", `length(case mnesia:system_info(is_running) of
			yes -> mnesia:system_info(running_db_nodes); _ -> rabbit_nodes:list_running() end).`)
		return err != nil || strings.TrimSpace(running) != fmt.Sprint(hosts["rabbitmq"])
	})
}

// reunite does what an operator does after a network failure: it restarts the node that was cut off if the cluster stays partitioned.
func (r *run) reunite(ctx context.Context, host int) error {
	c := r.servers.cluster
	limited, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := poll(limited, time.Second, func() bool { return !c.partitioned(ctx) }); err == nil || ctx.Err() != nil {
		return nil
	}
	r.note("operator", "restart the node of host ", host)
	return c.nodes[host].call(ctx, "restart rabbitmq")
}

// cutOff cuts a host off: from all, or only from the other hosts, so that the services still reach it.
func cutOff(entirely bool) effect {
	return func(ctx context.Context, r *run, b injection) (func() error, error) {
		c := r.servers.cluster
		chosen := 1 + b.draw.IntN(hosts["rabbitmq"])
		set := func(cut bool) {
			for other := range 1 + len(c.nodes) {
				if other != chosen && (other > 0 || entirely) {
					c.network.Cut(chosen, other, cut)
				}
			}
		}
		r.note("fault", b.String(), "host ", chosen-1)
		set(true)
		return func() error {
			set(false)
			err := r.reunite(ctx, chosen-1)
			r.rebalance(ctx)
			return err
		}, nil
	}
}

// distant makes the round trip to a host longer.
func distant(ctx context.Context, r *run, b injection) (func() error, error) {
	network, chosen := r.servers.cluster.network, 1+b.draw.IntN(hosts["minio"])
	network.Distance(chosen, time.Duration(20+b.draw.IntN(180))*time.Millisecond)
	return func() error { network.Distance(chosen, 0); return nil }, nil
}

// replaced replaces a node of RabbitMQ by an empty one: the members of its queues are removed, it leaves
// the cluster, and the new node joins and gets members.
func replaced(ctx context.Context, r *run, b injection) (func() error, error) {
	c := r.servers.cluster
	chosen := b.draw.IntN(hosts["rabbitmq"])
	name, other := "imagebatch@"+c.addr(chosen), c.nodes[(chosen+1)%hosts["rabbitmq"]]
	r.note("fault", b.String(), "host ", chosen)
	eval := func(text string) error {
		_, err := other.ctl(ctx, "eval", fmt.Sprintf(text, name))
		return err
	}
	if err := c.nodes[chosen].call(ctx, "kill rabbitmq"); err != nil {
		return nil, err
	}
	// The other node may be returning itself, after it was cut off.
	var err error
	limited, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	_ = poll(limited, time.Second, func() bool {
		if err = eval(`rabbit_quorum_queue:shrink_all('%s').`); err == nil {
			_, err = other.ctl(ctx, "forget_cluster_node", name)
		}
		return err == nil
	})
	if err != nil {
		return func() error { return c.nodes[chosen].call(ctx, "start rabbitmq") }, err
	}
	return func() error {
		joined := c.nodes[chosen].call(ctx, "wipe rabbitmq")
		grown := eval(`rabbit_quorum_queue:grow('%s', <<".*">>, <<".*">>, all).`)
		r.rebalance(ctx)
		return errors.Join(joined, grown)
	}, nil
}

// failedOver makes the standby the primary, after the old primary was killed or cut off. An operator never
// lets the old primary come back as one: it is deleted and becomes the standby.
func failedOver(ctx context.Context, r *run, b injection) (func() error, error) {
	c := r.servers.cluster
	old, next := c.primary, 1-c.primary
	if b.draw.IntN(2) == 0 {
		c.network.Isolate(old+1, true)
		defer c.network.Isolate(old+1, false)
		pause(ctx, b.lasts)
	}
	if err := errors.Join(c.nodes[old].call(ctx, "kill postgres"), c.nodes[next].sql(ctx, "SELECT pg_promote()")); err != nil {
		return nil, err
	}
	c.primary = next
	r.note("operator", "promoted host ", next)
	return func() error {
		return errors.Join(c.follow(old, next), os.RemoveAll(filepath.Join(c.nodes[next].dir, "primary")), c.nodes[old].call(ctx, "wipe postgres"))
	}, nil
}

// onRole causes a fault of PostgreSQL's primary or standby.
func onRole(standby bool, do, undo string) effect {
	return func(ctx context.Context, r *run, _ injection) (func() error, error) {
		node := r.servers.cluster.nodes[r.servers.cluster.primary]
		if standby {
			node = r.servers.cluster.nodes[1-r.servers.cluster.primary]
		}
		return func() error { return node.call(ctx, undo) }, node.call(ctx, do)
	}
}

// clusterFaults affect single nodes of the clusters, and hosts.
var clusterFaults = []fault{
	{"broker node kill -9", 3, 3 * time.Second, onHosts("rabbitmq", 1, "kill rabbitmq", "start rabbitmq")},
	{"broker node stopped", 2, 3 * time.Second, onHosts("rabbitmq", 1, "stop rabbitmq", "start rabbitmq")},
	{"broker node paused", 2, 12 * time.Second, onHosts("rabbitmq", 1, "pause rabbitmq", "resume rabbitmq")},
	{"broker node replaced", 2, 3 * time.Second, replaced},
	{"broker majority lost", 2, 5 * time.Second, onHosts("rabbitmq", 2, "kill rabbitmq", "start rabbitmq")},
	{"broker disk alarm on a node", 1, 3 * time.Second, onHosts("rabbitmq", 1, "rabbitmqctl set_disk_free_limit 1000000GB", "rabbitmqctl set_disk_free_limit 200MB")},
	{"broker node without dead-letter workers", 2, 12 * time.Second, onHosts("rabbitmq", 1, withoutDeadLetterWorkers, "restart rabbitmq")},
	{"all broker nodes kill -9", 1, 2 * time.Second, onHosts("rabbitmq", 3, "kill rabbitmq", "start rabbitmq")},
	{"host cut off", 3, 12 * time.Second, cutOff(true)},
	{"host cut off from the other hosts", 3, 15 * time.Second, cutOff(false)},
	{"host distant", 1, 4 * time.Second, distant},
	{"storage node kill -9", 2, 2 * time.Second, onHosts("minio", 1, "kill minio", "start minio")},
	{"storage node paused", 2, 5 * time.Second, onHosts("minio", 1, "pause minio", "resume minio")},
	{"two storage nodes away", 2, 3 * time.Second, onHosts("minio", 2, "kill minio", "start minio")},
	{"database failed over", 4, time.Second, failedOver},
	{"database primary kill -9", 2, 2 * time.Second, onRole(false, "kill postgres", "start postgres")},
	{"standby kill -9", 2, 12 * time.Second, onRole(true, "kill postgres", "start postgres")},
	{"standby slow", 2, 12 * time.Second, onRole(true, "pause postgres", "resume postgres")},
	{"both databases away", 1, 3 * time.Second, onHosts("postgres", 2, "kill postgres", "start postgres")},
}
