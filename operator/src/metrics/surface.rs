//! Which part of the API a request is for.

/// Declares the surfaces, with how their routes begin. The first that fits counts.
macro_rules! surfaces {
    ($($surface:ident, $name:literal: $($beginning:literal),*;)+) => {
        /// A part of the API, as a metric names it: a fixed list, whatever paths clients ask for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Surface {
            $($surface),+
        }

        impl Surface {
            /// Every surface, in the order of their numbers.
            pub(super) const ALL: [Self; [$($name),+].len()] = [$(Self::$surface),+];

            /// Its name.
            pub(super) fn as_str(self) -> &'static str {
                match self { $(Self::$surface => $name),+ }
            }

            /// The surface of a route of ours, as the router knows it.
            pub(super) fn of_route(route: &str) -> Self {
                $($(
                    if begins(route, $beginning) {
                        return Self::$surface;
                    }
                )*)+
                Self::Other
            }
        }
    };
}

surfaces! {
    Verify, "verify": "/v1/verify", "/envoy.service.auth.v3.Authorization";
    Exchange, "exchange": "/v1/kubernetes/exec-credential", "/v1/whoami";
    Kubeconfig, "kubeconfig": "/v1/kubernetes/kubeconfig";
    Inference, "inference": "/v1/inference";
    Account, "account": "/v1/account";
    PanelSshKeys, "panel_ssh_keys": "/api/account/ssh-keys";
    GpuCloudSshKeys, "gpu_cloud_ssh_keys": "/gpu-cloud/ssh-keys";
    OpenApi, "openapi": "/openapi.json";
    Other, "other": ;
}

/// Whether a route begins with these whole segments.
fn begins(route: &str, with: &str) -> bool {
    route.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_belongs_to_one_surface_by_whole_segments() {
        for (route, surface) in [
            ("/v1/verify", Surface::Verify),
            ("/envoy.service.auth.v3.Authorization/Check", Surface::Verify),
            ("/v1/kubernetes/exec-credential", Surface::Exchange),
            ("/v1/whoami", Surface::Exchange),
            ("/v1/kubernetes/kubeconfig", Surface::Kubeconfig),
            ("/v1/inference/runtime/models", Surface::Inference),
            ("/v1/account/api-keys/{key_id}/revoke", Surface::Account),
            ("/v1/account/namespaces/{namespace_id}", Surface::Account),
            ("/api/account/ssh-keys", Surface::PanelSshKeys),
            ("/gpu-cloud/ssh-keys/{id}/makedefault", Surface::GpuCloudSshKeys),
            ("/openapi.json", Surface::OpenApi),
            ("/v1/verify-more", Surface::Other),
            ("/", Surface::Other),
            ("", Surface::Other),
        ] {
            assert_eq!(Surface::of_route(route), surface, "{route}");
        }
    }

    #[test]
    fn a_surfaces_number_is_its_place_in_the_list() {
        for (index, surface) in Surface::ALL.into_iter().enumerate() {
            assert_eq!(surface as usize, index);
        }
    }
}
