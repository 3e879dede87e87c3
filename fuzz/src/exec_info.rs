//! What holds of `KUBERNETES_EXEC_INFO`, whatever text the client, or whoever wrote the kubeconfig, puts there.

use keyplane_credential_plugin::exchange::address::{ExchangeAddress, Named};
use keyplane_credential_plugin::exchange::allowed::AllowedExchange;
use keyplane_credential_plugin::exec_protocol::ExecInfo;
use keyplane_credential_plugin::failure::FailureKind;

use crate::told::check_line;

/// The only exchange that the user allows.
const ALLOWED: &str = "https://exchange.example";

/// Holds bytes against the laws. Gives whether they are a request.
///
/// # Panics
/// At a breach.
pub fn check(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let info = match ExecInfo::parse(&text) {
        Ok(info) => info,
        Err(failure) => {
            assert_eq!(failure.kind(), FailureKind::Usage);
            check_line(&failure);
            return false;
        }
    };
    // What is not looked at may be what serde_json would not read: depths or numbers.
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
        assert_eq!(value["apiVersion"], info.api_version.as_str());
        assert_eq!(value["kind"], "ExecCredential");
    }
    assert!(info.from_client);

    let nobody = Named::default();
    let cluster = info.cluster.as_ref();
    if let Err(failure) = ExchangeAddress::locate(&nobody, cluster, &[], &nobody) {
        assert_eq!(failure.kind(), FailureKind::Usage);
        check_line(&failure);
    } else {
        panic!("an exchange that nobody allowed");
    }
    // A CA file would be read: that is not for this law.
    if cluster
        .and_then(|cluster| cluster.config.as_ref())
        .is_some_and(|config| config.certificate_authority.is_some())
    {
        return true;
    }
    let allowed = AllowedExchange::parse(ALLOWED).expect("an exchange");
    match ExchangeAddress::locate(&nobody, cluster, &[allowed], &nobody) {
        Ok(exchange) => {
            assert_eq!(exchange.base.as_str(), ALLOWED);
            assert_eq!(exchange.trust, keyplane_credential_plugin::exchange::address::Trust::Platform);
            assert_eq!(exchange.tls_server_name, None, "the entry does not say who may answer");
        }
        Err(failure) => check_line(&failure),
    }
    true
}
