// Apart from the control plane's module and with nothing but the standard library, so that it builds in
// seconds on a machine that brings its own etcd and kube-apiserver.
module keyplane.dev/supervise

go 1.24
