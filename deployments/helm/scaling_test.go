package helm

import (
	"reflect"
	"strconv"
	"testing"

	autoscaling "k8s.io/api/autoscaling/v2"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// scaledObject and triggerAuthentication are KEDA's types, with the fields that the chart uses:
// https://keda.sh/docs/latest/reference/scaledobject-spec/ and
// https://keda.sh/docs/latest/scalers/rabbitmq-queue/.
type scaledObject struct {
	meta.TypeMeta `json:",inline"`
	Metadata      meta.ObjectMeta `json:"metadata"`
	Spec          struct {
		ScaleTargetRef struct {
			Name string `json:"name"`
		} `json:"scaleTargetRef"`
		PollingInterval int `json:"pollingInterval"`
		MinReplicaCount int `json:"minReplicaCount"`
		MaxReplicaCount int `json:"maxReplicaCount"`
		Fallback        struct {
			FailureThreshold int    `json:"failureThreshold"`
			Replicas         int    `json:"replicas"`
			Behavior         string `json:"behavior"`
		} `json:"fallback"`
		Advanced struct {
			HorizontalPodAutoscalerConfig struct {
				Behavior autoscaling.HorizontalPodAutoscalerBehavior `json:"behavior"`
			} `json:"horizontalPodAutoscalerConfig"`
		} `json:"advanced"`
		Triggers []struct {
			Type              string            `json:"type"`
			Metadata          map[string]string `json:"metadata"`
			AuthenticationRef struct {
				Name string `json:"name"`
				Kind string `json:"kind"`
			} `json:"authenticationRef"`
		} `json:"triggers"`
	} `json:"spec"`
}

type triggerAuthentication struct {
	meta.TypeMeta `json:",inline"`
	Metadata      meta.ObjectMeta `json:"metadata"`
	Spec          struct {
		SecretTargetRef []secretTarget `json:"secretTargetRef"`
	} `json:"spec"`
}

type secretTarget struct {
	Parameter string `json:"parameter"`
	Name      string `json:"name"`
	Key       string `json:"key"`
}

// TestScaling verifies the objects for KEDA: which queue it counts, including messages in
// flight, and that only KEDA sets the number of replicas.
func TestScaling(t *testing.T) {
	r := install(t, []string{"large"})
	if len(r.scaled) != 3 || len(r.triggerAuth) != 1 {
		t.Fatalf("got %d scaled objects and %d trigger authentications, want 3 and 1", len(r.scaled), len(r.triggerAuth))
	}
	for part, want := range map[string]struct {
		queue       string
		most, value int
	}{
		"analyzer":  {pipeline.ImageUpload.Name, 20, 400},
		"captioner": {pipeline.ImageDescribed.Name, 4, 100},
		"processor": {pipeline.MetadataGenerated.Name, 10, 1000},
	} {
		s := r.scaled["try-imagebatch-"+part]
		if s == nil {
			t.Fatalf("%s is not scaled", part)
		}
		if d := r.deployments[s.Spec.ScaleTargetRef.Name]; d == nil || d.Labels["app.kubernetes.io/component"] != part || d.Spec.Replicas != nil {
			t.Errorf("%s scales %q, whose deployment is %v", part, s.Spec.ScaleTargetRef.Name, d)
		}
		if s.Spec.MinReplicaCount != 1 || s.Spec.MaxReplicaCount != want.most || s.Spec.Fallback.Behavior != "currentReplicasIfHigher" {
			t.Errorf("%s: %+v", part, s.Spec)
		}
		if w := s.Spec.Advanced.HorizontalPodAutoscalerConfig.Behavior.ScaleDown; w == nil || *w.StabilizationWindowSeconds != 300 {
			t.Errorf("%s: the scale-down policy is %+v", part, w)
		}
		trigger := s.Spec.Triggers[0]
		if trigger.Type != "rabbitmq" || !reflect.DeepEqual(trigger.Metadata, map[string]string{
			"protocol": "http", "host": "http://rabbitmq.messaging.svc:15672/", "queueName": want.queue,
			"mode": "QueueLength", "value": strconv.Itoa(want.value),
		}) {
			t.Errorf("%s: trigger %+v", part, trigger)
		}
		if r.triggerAuth[trigger.AuthenticationRef.Name] == nil || trigger.AuthenticationRef.Kind != "" {
			t.Errorf("%s authenticates with %+v, which does not exist", part, trigger.AuthenticationRef)
		}
	}
	for _, auth := range r.triggerAuth {
		want := []secretTarget{{"username", "rabbitmq-default-user", "username"}, {"password", "rabbitmq-default-user", "password"}}
		if !reflect.DeepEqual(auth.Spec.SecretTargetRef, want) {
			t.Errorf("the authentication for RabbitMQ is %+v", auth.Spec.SecretTargetRef)
		}
	}

	// The Secret contains the whole URL.
	r = install(t, []string{"minimal"}, "analyzer.autoscaling.enabled=true", "keda.existingSecret=management")
	if len(r.scaled) != 1 || r.deployments["try-imagebatch-processor"].Spec.Replicas == nil {
		t.Errorf("got %d scaled objects, want 1", len(r.scaled))
	}
	for _, auth := range r.triggerAuth {
		if want := []secretTarget{{"host", "management", "management-url"}}; !reflect.DeepEqual(auth.Spec.SecretTargetRef, want) {
			t.Errorf("the authentication for RabbitMQ is %+v", auth.Spec.SecretTargetRef)
		}
	}

	// The authentication exists already.
	r = install(t, []string{"tls"})
	trigger := r.scaled["images-processor"].Spec.Triggers[0]
	if len(r.triggerAuth) != 0 || trigger.AuthenticationRef.Name != "rabbitmq" || trigger.AuthenticationRef.Kind != "ClusterTriggerAuthentication" ||
		trigger.Metadata["vhostName"] != "images" || trigger.Metadata["timeout"] != "2000" {
		t.Errorf("trigger %+v, %d new trigger authentications", trigger, len(r.triggerAuth))
	}
}
