#!/bin/sh
# Broken: a policy engine was removed from the remote, and its validating webhook for pods was left: it leads to a Service that is gone, and without
# its answer no pod may be created. v2's pod was evicted since. A mutating webhook of the same engine was left, too, and is ignored when it fails.
# Answer: ValidatingWebhookConfiguration remote/policy-admission: failurePolicy=Fail, and its Service policy-system/policy-admission does not exist:
# v2's ReplicaSet may not create its pod (FailedCreate, failed calling webhook). (MutatingWebhookConfiguration policy-defaults is innocent.)
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote apply -f - <<'YAML'
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: policy-defaults
webhooks:
  - name: defaults.policy.example.com
    admissionReviewVersions: [v1]
    sideEffects: None
    failurePolicy: Ignore
    timeoutSeconds: 2
    namespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: sample
    rules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE]
        resources: [pods]
    clientConfig:
      service:
        name: policy-admission
        namespace: policy-system
        path: /mutate
YAML
  remote apply -f - <<'YAML'
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: policy-admission
webhooks:
  - name: validate.policy.example.com
    admissionReviewVersions: [v1]
    sideEffects: None
    failurePolicy: Fail
    timeoutSeconds: 2
    namespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: sample
    rules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE]
        resources: [pods]
    clientConfig:
      service:
        name: policy-admission
        namespace: policy-system
        path: /validate
YAML
  # The API server asks a new webhook only after a moment.
  sleep 3
  remote -n sample scale deployment helloworld-v2 --replicas=0
  remote -n sample wait --for=delete pod -l app=helloworld --timeout=90s
  remote -n sample scale deployment helloworld-v2 --replicas=1
  pushed
}

undo() {
  remote delete --ignore-not-found validatingwebhookconfiguration policy-admission
  remote delete --ignore-not-found mutatingwebhookconfiguration policy-defaults
  sleep 3
  # A ReplicaSet that was refused tries again only minutes later, but at once after a change.
  remote -n sample scale deployment helloworld-v2 --replicas=0
  sleep 3
  remote -n sample scale deployment helloworld-v2 --replicas=1
  rolled remote sample helloworld-v2
  pushed
}

"$1"
