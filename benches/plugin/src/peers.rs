//! Other credential plugins, compiled from their Go modules and given a credential that they can hand out at once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::openid_provider;
use crate::start::Program;

/// A peer that could be compiled.
pub(crate) struct Peer {
    kind: Kind,
    path: PathBuf,
    home: TempDir,
}

#[derive(Clone, Copy)]
enum Kind {
    Kubelogin,
    AwsIamAuthenticator,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Kubelogin => "kubelogin",
            Self::AwsIamAuthenticator => "aws-iam-authenticator",
        }
    }

    const fn package(self) -> &'static str {
        match self {
            Self::Kubelogin => "github.com/int128/kubelogin",
            Self::AwsIamAuthenticator => "sigs.k8s.io/aws-iam-authenticator/cmd/aws-iam-authenticator",
        }
    }
}

impl Peer {
    /// Every peer, or why it cannot be had.
    pub(crate) fn all(modules: &Path, programs: &Path) -> Vec<Result<Self>> {
        [Kind::Kubelogin, Kind::AwsIamAuthenticator]
            .into_iter()
            .map(|kind| Self::compile(kind, modules, programs).with_context(|| kind.name()))
            .collect()
    }

    fn compile(kind: Kind, modules: &Path, programs: &Path) -> Result<Self> {
        let module = modules.join(kind.name());
        std::fs::create_dir_all(programs)?;
        let path = programs.canonicalize()?.join(kind.name());
        let output = Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"])
            .arg(&path)
            .arg(kind.package())
            .current_dir(&module)
            .output()
            .context("Go cannot be started")?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("go build failed: {}", words.lines().last().unwrap_or_default());
        }
        Ok(Self { kind, path, home: TempDir::new()? })
    }

    /// With what it needs to hand out a credential without asking anybody.
    pub(crate) fn warm(&self) -> Result<Program> {
        let program = Program::named(self.kind.name(), &self.path).with_env("HOME", self.home.path()).with_env(
            "KUBERNETES_EXEC_INFO",
            r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}}"#,
        );
        match self.kind {
            Kind::Kubelogin => {
                let provider = openid_provider::start()?;
                let program = program.with_args([
                    "get-token",
                    &format!("--oidc-issuer-url={}", provider.url),
                    "--oidc-client-id=bench",
                    "--grant-type=password",
                    "--username=bench",
                    "--password=bench",
                    "--token-cache-storage=disk",
                ]);
                program.once()?;
                let asked = provider.asked();
                program.once()?;
                ensure!(provider.asked() == asked, "the token is not cached");
                Ok(program)
            }
            // It signs a request with what is in its environment; there is no credential to cache.
            Kind::AwsIamAuthenticator => {
                let program = program
                    .with_args(["token", "--cluster-id", "bench"])
                    .with_env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
                    .with_env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
                    .with_env("AWS_REGION", "eu-central-1")
                    .with_env("AWS_EC2_METADATA_DISABLED", "true");
                program.once()?;
                Ok(program)
            }
        }
    }
}
