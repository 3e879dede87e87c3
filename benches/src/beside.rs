//! The servers that Keyplane is measured beside.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::keyplane_process::Keyplane;
use keyplane_tests::launch::Launch;
use keyplane_tests::ports;
use keyplane_tests::supervised::{Ending, Supervised};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use keyplane_tests::workspace;
use tokio::net::TcpStream;

use crate::keys::Keys;

/// They end with this.
pub(crate) struct Beside {
    /// The server that does nothing.
    pub(crate) hyper: String,
    /// nginx.
    pub(crate) nginx: Nginx,
    _processes: [Supervised; 2],
}

/// Where nginx serves the same small picture.
pub(crate) struct Nginx {
    /// To everybody.
    pub(crate) open: String,
    /// To keys that are in its configuration.
    pub(crate) map: String,
    /// To keys that Keyplane accepts.
    pub(crate) asking: String,
}

impl Beside {
    /// Starts them.
    pub(crate) async fn start(cluster: &ControlPlane, keyplane: &Keyplane, keys: &Keys) -> Result<Self> {
        let [hyper, open, map, asking] = ports::free()?;
        let local = |port: u16| format!("127.0.0.1:{port}");
        let configuration = cluster.dir().join("nginx.conf");
        let internal = keyplane.internal_url();
        let internal = internal.strip_prefix("http://").context("plain HTTP")?;
        let text = NGINX
            .replace("KEYPLANE", internal)
            .replace("OPEN", &local(open))
            .replace("LISTED", &local(map))
            .replace("ASKING", &local(asking))
            .replace("KEYS", &keys.map.to_string_lossy());
        std::fs::write(&configuration, text)?;
        let launch = |name: &str, program: PathBuf, arguments: Vec<OsString>| {
            let launch =
                Launch { name: name.to_owned(), program, arguments, dir: cluster.dir().to_path_buf() };
            Supervised::start(cluster.supervise(), cluster.dir(), launch, Ending::AtOnce)
        };
        let nothing =
            launch("bare-hyper", workspace::binary("bare-hyper")?, vec![local(hyper).into()]).await?;
        let arguments = vec!["-p".into(), cluster.dir().into(), "-c".into(), configuration.into()];
        let nginx =
            launch("nginx", "/usr/sbin/nginx".into(), arguments).await.context("apt-get install nginx")?;
        for (port, process) in [(hyper, &nothing), (open, &nginx)] {
            until(&local(port), PATIENCE, || async {
                process.check_running()?;
                Ok(match TcpStream::connect(local(port)).await {
                    Ok(_) => Seen::Done(()),
                    Err(error) => Seen::NotYet(error.to_string()),
                })
            })
            .await?;
        }
        let url = |port: u16| format!("http://{}/", local(port));
        let places = Nginx { open: url(open), map: url(map), asking: url(asking) };
        Ok(Self { hyper: url(hyper), nginx: places, _processes: [nothing, nginx] })
    }
}

/// As `examples/gateways/nginx.conf`, with a picture in memory in place of an API.
const NGINX: &str = "
daemon off;
user root;
worker_processes auto;
pid nginx-own.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream keyplane {
        server KEYPLANE;
        keepalive 64;
        keepalive_requests 1000000000;
    }
    map_hash_max_size 262144;
    map_hash_bucket_size 128;
    map $http_x_api_key $is_known {
        default 0;
        include KEYS;
    }
    server {
        listen OPEN;
        location / { empty_gif; }
    }
    server {
        listen LISTED;
        location / {
            if ($is_known = 0) { return 401; }
            empty_gif;
        }
    }
    server {
        listen ASKING;
        location / {
            auth_request /_keyplane_verify;
            empty_gif;
        }
        location = /_keyplane_verify {
            internal;
            proxy_pass http://keyplane/v1/verify?scope=inference;
            proxy_method HEAD;
            proxy_pass_request_body off;
            proxy_set_header Content-Length \"\";
            proxy_set_header X-Keyplane-Require-Scope \"\";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }
    }
}
";
