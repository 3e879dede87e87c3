//! The real `ssh-keygen`: it makes keys, and gives its own verdict on a line.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

use tempfile::TempDir;

/// A pair as `ssh-keygen` made it.
pub(crate) struct Generated {
    /// The content of the `.pub` file.
    pub(crate) line: String,
    /// The content of the private key's file.
    pub(crate) private: String,
}

/// One pair of each type that this test needs, made once a run.
pub(crate) struct Keys {
    pub(crate) ed25519: Generated,
    pub(crate) rsa1024: Generated,
    pub(crate) rsa2048: Generated,
    pub(crate) rsa4096: Generated,
    pub(crate) nistp256: Generated,
    pub(crate) nistp384: Generated,
    pub(crate) nistp521: Generated,
}

pub(crate) static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    ed25519: generate(&["-t", "ed25519"]),
    rsa1024: generate(&["-t", "rsa", "-b", "1024"]),
    rsa2048: generate(&["-t", "rsa", "-b", "2048"]),
    rsa4096: generate(&["-t", "rsa", "-b", "4096"]),
    nistp256: generate(&["-t", "ecdsa", "-b", "256"]),
    nistp384: generate(&["-t", "ecdsa", "-b", "384"]),
    nistp521: generate(&["-t", "ecdsa", "-b", "521"]),
});

pub(crate) fn generate(arguments: &[&str]) -> Generated {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("key");
    let mut command = Command::new("ssh-keygen");
    if !arguments.contains(&"-N") {
        command.args(["-N", ""]);
    }
    command.args(["-q", "-C", "ada@example.com"]).args(arguments).arg("-f").arg(&file);
    let output = run(&mut command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Generated {
        line: fs::read_to_string(file.with_extension("pub")).unwrap(),
        private: fs::read_to_string(file).unwrap(),
    }
}

/// A certificate of this public key, by a new authority.
pub(crate) fn certificate(line: &str) -> String {
    let folder = TempDir::new().unwrap();
    let (authority, key) = (folder.path().join("authority"), folder.path().join("key.pub"));
    fs::write(&authority, generate(&["-t", "ed25519"]).private).unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&authority, owner_only).unwrap();
    fs::write(&key, line).unwrap();
    let output = run(Command::new("ssh-keygen").args(["-q", "-I", "ada", "-s"]).args([&authority, &key]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(folder.path().join("key-cert.pub")).unwrap()
}

/// The fingerprint that `ssh-keygen -l` gives for a file of this content, if it accepts it.
pub(crate) fn fingerprint(content: impl AsRef<[u8]>) -> Option<String> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("key.pub");
    fs::write(&file, content.as_ref()).unwrap();
    // It refuses private keys that others may read before it looks at them.
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&file, owner_only).unwrap();
    list(&file)
}

fn list(file: &Path) -> Option<String> {
    let output = run(Command::new("ssh-keygen").args(["-l", "-E", "sha256", "-f"]).arg(file));
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| listed.split(' ').nth(1).unwrap().to_owned())
}

/// Whether this OpenSSH knows `ssh-dss`: from version 10 on none does.
pub(crate) fn knows_dss() -> bool {
    let output = run(Command::new("ssh").args(["-Q", "key"]));
    String::from_utf8(output.stdout).unwrap().lines().any(|name| name == "ssh-dss")
}

fn run(command: &mut Command) -> Output {
    command.output().expect("this test needs ssh and ssh-keygen: install openssh-client")
}
