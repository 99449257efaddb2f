package helm

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"code.dny.dev/ssrf"
	networking "k8s.io/api/networking/v1"
)

// TestNetworkPolicies verifies which pods may connect to which: who reaches which port of
// a pod, and which ports a pod may connect to.
func TestNetworkPolicies(t *testing.T) {
	r := install(t, []string{"large"})
	for part, want := range map[string]struct{ in, out string }{
		"gateway":   {"api from ingress-nginx; metrics from monitoring", "53 53 5672 5671 443 9000 5432 4318 80 443 all"},
		"analyzer":  {"metrics from monitoring", "53 53 5672 5671 443 9000 4318"},
		"captioner": {"metrics from monitoring", "53 53 5672 5671 443 9000 4318 443"},
		"processor": {"metrics from monitoring", "53 53 5672 5671 443 9000 4318"},
	} {
		p := r.policies["try-imagebatch-"+part]
		if p == nil || !slices.Equal(p.Spec.PolicyTypes, []networking.PolicyType{networking.PolicyTypeIngress, networking.PolicyTypeEgress}) {
			t.Fatalf("the policy of the %ss is %+v", part, p)
		}
		var in []string
		for _, rule := range p.Spec.Ingress {
			in = append(in, rule.Ports[0].Port.String()+" from "+rule.From[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"])
			port(t, r.deployments[p.Name].Spec.Template.Spec.Containers[0], rule.Ports[0].Port.String())
		}
		if got := strings.Join(in, "; "); got != want.in {
			t.Errorf("the %ss accept %s, want %s", part, got, want.in)
		}
		var out []string
		for _, rule := range p.Spec.Egress {
			if len(rule.Ports) == 0 {
				out = append(out, "all")
			}
			for _, one := range rule.Ports {
				out = append(out, one.Port.String())
			}
		}
		if got := strings.Join(out, " "); got != want.out {
			t.Errorf("the %ss may connect to ports %s, want %s", part, got, want.out)
		}
	}
	gateway := r.policies["try-imagebatch-gateway"].Spec
	rabbitmq, database := gateway.Egress[1].To, gateway.Egress[3].To
	if rabbitmq[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] != "messaging" || database[0].PodSelector.MatchLabels["app"] != "postgres" {
		t.Errorf("RabbitMQ is %+v, PostgreSQL %+v", rabbitmq, database)
	}

	// The analyzers ask the model if there are no captioners.
	if out := r.policies["try-imagebatch-captioner"].Spec.Egress; out[4].To[0].IPBlock.CIDR != "203.0.113.0/24" {
		t.Errorf("the model is %+v", out[4].To)
	}
	out := install(t, []string{"minimal"}, "captions.url=http://ollama:11434/v1", "captions.model=m").policies["try-imagebatch-analyzer"].Spec.Egress
	if len(out) != 4 || out[3].Ports[1].Port.String() != "11434" {
		t.Errorf("the analyzers may connect to %+v", out)
	}

	if r := install(t, []string{"minimal"}, "networkPolicy.enabled=false"); len(r.policies) != 0 {
		t.Errorf("%d policies, although they are disabled", len(r.policies))
	}
	// Without peers, a rule allows all clients.
	r = install(t, []string{"minimal"})
	if in := r.policies["try-imagebatch-gateway"].Spec.Ingress[0]; len(in.From) != 0 || in.Ports[0].Port.String() != "api" {
		t.Errorf("the API accepts %+v", in)
	}
	if !strings.Contains(r.notes, "networkPolicy.rabbitmq.to") {
		t.Errorf("the notes lack networkPolicy.rabbitmq.to:\n%s", r.notes)
	}
}

// TestDownloadPolicyMatchesAddressCheck verifies that the policy excludes the addresses
// that the gateway's own check rejects.
func TestDownloadPolicyMatchesAddressCheck(t *testing.T) {
	egress := install(t, []string{"large"}).policies["try-imagebatch-gateway"].Spec.Egress
	public, allowed := egress[5], egress[6]
	var refused []netip.Prefix
	for _, peer := range public.To {
		for _, e := range peer.IPBlock.Except {
			refused = append(refused, netip.MustParsePrefix(e))
		}
	}
	want := slices.Concat(ssrf.IPv4DeniedPrefixes, ssrf.IPv6DeniedPrefixes)
	slices.SortFunc(refused, netip.Prefix.Compare)
	slices.SortFunc(want, netip.Prefix.Compare)
	if !slices.Equal(refused, want) {
		t.Errorf("the policy excludes %v, and the gateway rejects %v", refused, want)
	}
	if public.To[0].IPBlock.CIDR != "0.0.0.0/0" || public.To[1].IPBlock.CIDR != ssrf.IPv6GlobalUnicast.String() {
		t.Errorf("the policy allows %+v", public.To)
	}
	var networks []string
	for _, peer := range allowed.To {
		networks = append(networks, peer.IPBlock.CIDR)
	}
	if fmt.Sprint(networks) != "[10.20.0.0/16 10.30.0.0/16 10.40.0.0/16]" {
		t.Errorf("the networks of DOWNLOAD_ALLOW_NETWORKS and WEBHOOK_ALLOW_NETWORKS are %v", networks)
	}
	if n := len(install(t, []string{"tls"}).policies["images-gateway"].Spec.Egress); n != 3 {
		t.Errorf("without downloads there are %d egress rules, want 3", n)
	}
}
