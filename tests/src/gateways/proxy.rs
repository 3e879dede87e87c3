//! What tells the proxies apart: the files of `examples/gateways`, the places in them that are this machine's, and the
//! command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::HOST;
use crate::workspace;
use crate::{programs, python_packages};

/// A proxy, and how it asks Keyplane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// nginx with `auth_request`.
    Nginx,
    /// Caddy with `forward_auth`.
    Caddy,
    /// Envoy with `ext_authz` over HTTP.
    EnvoyHttp,
    /// Envoy with `ext_authz` over gRPC.
    EnvoyGrpc,
    /// Traefik with `ForwardAuth`.
    Traefik,
}

/// Where everybody is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// Where the proxy listens.
    pub(super) listen: SocketAddr,
    /// Keyplane's internal listener.
    pub(super) keyplane: SocketAddr,
    /// What is guarded.
    pub(super) api: SocketAddr,
}

/// A program and its arguments.
pub(super) struct Command {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

/// Shipped files, with places in them put in for others.
struct Files<'a> {
    into: &'a Path,
    places: Places,
}

impl Proxy {
    /// A name for files and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::EnvoyHttp => "envoy-http",
            Self::EnvoyGrpc => "envoy-grpc",
            Self::Traefik => "traefik",
        }
    }

    /// Writes its files into `dir`, and says how it is started.
    ///
    /// # Errors
    /// When the program is missing, or a shipped file does not hold what is to be replaced.
    pub(super) fn prepare(self, dir: &Path, places: Places) -> Result<Command> {
        let files = Files { into: dir, places };
        match self {
            Self::Nginx => nginx(&files),
            Self::Caddy => caddy(&files),
            Self::EnvoyHttp | Self::EnvoyGrpc => envoy(&files, self.name()),
            Self::Traefik => traefik(&files),
        }
    }
}

fn nginx(files: &Files<'_>) -> Result<Command> {
    let shipped =
        files.write("nginx.conf", &[("listen 80;", &format!("listen {};", files.places.listen))])?;
    let dir = files.into.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {dir}/{name};\n"))
        .concat();
    // What Debian's own nginx.conf does around a file of conf.d.
    let main = files.into.join("main.conf");
    let around = format!(
        "pid {dir}/nginx.pid;\nevents {{}}\nhttp {{\n    access_log off;\n{temporary}    include {};\n}}\n",
        shipped.display()
    );
    std::fs::write(&main, around)?;
    let arguments: [OsString; 6] = [
        "-c".into(),
        main.into(),
        "-e".into(),
        "stderr".into(),
        "-g".into(),
        // One process, of our own user.
        "daemon off; master_process off;".into(),
    ];
    let program = programs::on_path("nginx")
        // It is a program for root, whose PATH is longer.
        .or_else(|error| Some(PathBuf::from("/usr/sbin/nginx")).filter(|path| path.is_file()).ok_or(error))
        .context("nginx is missing: on Debian, apt-get install nginx-light")?;
    Ok(Command { program, arguments: arguments.into() })
}

fn caddy(files: &Files<'_>) -> Result<Command> {
    let Places { listen, .. } = files.places;
    let site = format!("http://{HOST}:{} {{\n\tbind {}", listen.port(), listen.ip());
    let shipped = files.write(
        "Caddyfile",
        // Its port for administration is always the same.
        &[("\tlog {", "\tadmin off\n\tlog {"), (&format!("{HOST} {{"), &site)],
    )?;
    let caddy = programs::on_path("caddy").context("caddy is missing: on Debian, apt-get install caddy")?;
    let in_dir = |name: &str| {
        let mut variable = OsString::from(format!("{name}="));
        variable.push(files.into);
        variable
    };
    let arguments: [OsString; 8] = [
        in_dir("XDG_CONFIG_HOME"),
        in_dir("XDG_DATA_HOME"),
        caddy.into(),
        "run".into(),
        "--adapter".into(),
        "caddyfile".into(),
        "--config".into(),
        shipped.into(),
    ];
    Ok(Command { program: programs::on_path("env")?, arguments: arguments.into() })
}

fn envoy(files: &Files<'_>, name: &str) -> Result<Command> {
    let Places { listen, keyplane, api } = files.places;
    let place = |address: SocketAddr| format!("address: {}, port_value: {}}}", address.ip(), address.port());
    let shipped = files.write_as_is(
        &format!("{name}.yaml"),
        &[
            ("address: 0.0.0.0, port_value: 80}", &place(listen)),
            ("address: 127.0.0.1, port_value: 8081}", &place(keyplane)),
            ("address: 127.0.0.1, port_value: 8000}", &place(api)),
        ],
    )?;
    let arguments: [OsString; 7] = [
        "--config-path".into(),
        shipped.into(),
        // It needs memory that all of a machine's Envoys share.
        "--disable-hot-restart".into(),
        "--concurrency".into(),
        "1".into(),
        "--log-level".into(),
        "warning".into(),
    ];
    Ok(Command { program: python_packages::envoy()?, arguments: arguments.into() })
}

fn traefik(files: &Files<'_>) -> Result<Command> {
    let dynamic = files.write("traefik-dynamic.yaml", &[])?;
    let listen = format!("address: \"{}\"", files.places.listen);
    let dynamic = format!("filename: {}", dynamic.display());
    let shipped = files.write_as_is(
        "traefik.yaml",
        &[("address: \":80\"", &listen), ("filename: traefik-dynamic.yaml", &dynamic)],
    )?;
    let mut option = OsString::from("--configFile=");
    option.push(shipped);
    Ok(Command { program: python_packages::traefik()?, arguments: vec![option] })
}

impl Files<'_> {
    /// Writes a shipped file with the places of Keyplane and the API, and with these replacements besides.
    fn write(&self, name: &str, replacements: &[(&str, &str)]) -> Result<PathBuf> {
        let (keyplane, api) = (self.places.keyplane.to_string(), self.places.api.to_string());
        let both = [("127.0.0.1:8081", keyplane.as_str()), ("127.0.0.1:8000", api.as_str())];
        self.write_as_is(name, &[&both, replacements].concat())
    }

    /// Writes a shipped file with nothing but these replacements.
    fn write_as_is(&self, name: &str, replacements: &[(&str, &str)]) -> Result<PathBuf> {
        let shipped = workspace::root().join("examples/gateways").join(name);
        let mut text = std::fs::read_to_string(&shipped)
            .with_context(|| format!("cannot read {}", shipped.display()))?;
        for (from, to) in replacements {
            ensure!(text.contains(from), "{} does not say `{from}`", shipped.display());
            text = text.replace(from, to);
        }
        let path = self.into.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}
