//! What a release is made of: the archive, the manifests that package managers read, and the installer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};

use crate::stage::{Stage, has_mode};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn script(name: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    Command::new(root.join("distribution").join(name))
}

/// A release of this very program for this machine; the other platforms' archives are there, and hold nothing.
fn release(stage: &Stage) -> PathBuf {
    let folder = stage.path("release");
    fs::create_dir(&folder).unwrap();
    for name in [
        "linux-amd64.tar.gz",
        "linux-arm64.tar.gz",
        "darwin-amd64.tar.gz",
        "darwin-arm64.tar.gz",
        "windows-amd64.zip",
    ] {
        fs::write(folder.join(format!("kubectl-keyplane-{VERSION}-{name}")), name).unwrap();
    }
    let program = assert_cmd::cargo::cargo_bin("kubectl-keyplane");
    succeeded(&script("package").arg(program).args([VERSION, &platform()]).arg(&folder).output().unwrap());
    succeeded(&script("fill").args([VERSION, "acme/keyplane"]).arg(&folder).output().unwrap());
    folder
}

fn platform() -> String {
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    format!("{system}-{machine}")
}

fn archive(folder: &Path) -> PathBuf {
    folder.join(format!("kubectl-keyplane-{VERSION}-{}.tar.gz", platform()))
}

fn install(stage: &Stage, release: &Path) -> Output {
    Command::new("sh")
        .arg(release.join("install.sh"))
        .envs(stage.environment())
        .env("KEYPLANE_DOWNLOAD_URL", format!("file://{}", release.display()))
        .output()
        .unwrap()
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_installer_installs_the_program_of_this_machine() {
    let stage = Stage::new();
    let release = release(&stage);
    succeeded(&install(&stage, &release));
    for program in ["kubectl-keyplane", "kubectl_complete-keyplane"] {
        assert!(has_mode(&stage.path(".local/bin").join(program), 0o755));
    }
    let version = Command::new(stage.path(".local/bin/kubectl-keyplane")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("kubectl-keyplane {VERSION}\n"));
    // A second time it replaces the first.
    succeeded(&install(&stage, &release));
}

#[test]
fn an_archive_that_was_changed_is_not_installed() {
    let stage = Stage::new();
    let release = release(&stage);
    fs::write(archive(&release), "something else").unwrap();
    let output = install(&stage, &release);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing was installed"));
    assert!(!stage.path(".local").exists());
}

#[test]
fn the_manifests_name_every_archive_with_its_checksum() {
    let stage = Stage::new();
    let release = release(&stage);
    let read = |name: &str| fs::read_to_string(release.join(name)).unwrap();
    let (krew, formula, sums) = (read("keyplane.yaml"), read("kubectl-keyplane.rb"), read("SHA256SUMS"));
    let manifest: serde_json::Value = serde_saphyr::from_str(&krew).unwrap();
    let platforms = manifest["spec"]["platforms"].as_array().unwrap();
    assert_eq!((platforms.len(), sums.lines().count()), (5, 5));
    for platform in platforms {
        let uri = platform["uri"].as_str().unwrap();
        let name = uri.rsplit('/').next().unwrap();
        let sum = Sha256::digest(fs::read(release.join(name)).unwrap());
        let sum = format!("{:x}", base16ct::HexDisplay(&sum));
        assert_eq!(uri, format!("https://github.com/acme/keyplane/releases/download/v{VERSION}/{name}"));
        assert_eq!(platform["sha256"], sum);
        assert!(sums.contains(&format!("{sum}  {name}\n")), "{sums}");
        if name.ends_with(".tar.gz") {
            assert!(formula.contains(&format!("{uri}\"\n      sha256 \"{sum}\"")), "{formula}");
        }
    }
}

#[test]
fn a_release_that_lacks_a_platform_is_not_made() {
    let stage = Stage::new();
    let release = release(&stage);
    fs::remove_file(archive(&release)).unwrap();
    let output = script("fill").args([VERSION, "acme/keyplane"]).arg(&release).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("is missing"));
}
