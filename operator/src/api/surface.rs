//! The surfaces that an installation can switch off.

use clap::ValueEnum;

/// A documented HTTP surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Surface {
    /// `/v1/kubernetes/exec-credential`: a key becomes a cluster token; and `/v1/whoami`: whose key it is.
    Exchange,
    /// `/v1/kubernetes/kubeconfig`.
    Kubeconfig,
    /// `/v1/account/…`: keys and namespaces, for people with an access token.
    Account,
    /// `/api/account/ssh-keys`.
    PanelSshKeys,
    /// `/gpu-cloud/ssh-keys`.
    GpuCloudSshKeys,
    /// `/v1/verify` on the public port. The internal one has it whenever it is served.
    Verify,
    /// `/v1/inference/…`: passed on to the configured service.
    Inference,
}
