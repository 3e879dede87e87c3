//! The search that ends `make test` finds a plaintext wherever it could be, and nothing where it may be.

use std::convert::Infallible;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use keyplane_core::key_format::{KeyType, PlaintextKey};
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::plaintext_registry::PlaintextRegistry;
use keyplane_tests::plaintext_scan::{Findings, PlaintextScan};

fn key() -> Result<PlaintextKey> {
    let key = PlaintextKey::generate(&KeyType::account(), |bytes| {
        for chunk in bytes.chunks_mut(16) {
            let random = uuid::Uuid::new_v4();
            chunk.copy_from_slice(random.as_bytes().get(..chunk.len()).unwrap_or_default());
        }
        Ok::<(), Infallible>(())
    });
    Ok(key?)
}

/// `kubectl create` of something with a literal, without showing the literal to other users of the machine.
async fn create(cluster: &ControlPlane, kind: &str, name: &str, field: &str, value: &str) -> Result<()> {
    let manifest = format!(
        "apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: default}}\n{field}: {{value: \"{value}\"}}\n"
    );
    cluster.kubectl().capture(["create", "-f", "-"], &manifest).await?.success()?;
    Ok(())
}

fn look(registry: &PlaintextRegistry, dir: &Path) -> Result<Findings> {
    let plaintexts = registry.read()?;
    PlaintextScan::new(&plaintexts)?.look_through(dir)
}

/// The places and forms of the leaks.
fn places(findings: &Findings) -> Vec<String> {
    findings.leaks.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_plaintext_is_found_in_every_place_and_form_but_in_the_secret_that_was_named() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let notes = tempfile::tempdir()?;
    let registry = PlaintextRegistry::in_dir(notes.path());
    let (delivered, leaked) = (key()?, key()?);
    let token =
        format!("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.{}", leaked.digest().to_string().replace(':', "-"));
    registry.delivered(delivered.expose(), "default", "named")?;
    registry.key(leaked.expose())?;
    registry.token(&token)?;

    // Where it was delivered to, also after it was deleted there: nothing.
    create(&cluster, "Secret", "named", "stringData", delivered.expose()).await?;
    let clean = look(&registry, cluster.dir())?;
    ensure!(clean.leaks.is_empty(), "{:?}", places(&clean));
    ensure!(clean.plaintexts == 3 && clean.databases == 1 && clean.in_named_secrets == 1, "{clean}");
    ensure!(clean.revisions > 100 && clean.logs >= 4 && clean.bytes > 1_000_000, "{clean}");
    cluster.kubectl().run(["delete", "secret", "named"]).await?;
    ensure!(look(&registry, cluster.dir())?.leaks.is_empty());

    // The delivered key anywhere else in etcd.
    create(&cluster, "ConfigMap", "copied", "data", delivered.expose()).await?;
    let found = places(&look(&registry, cluster.dir())?);
    ensure!(
        found.len() == 2 && found.iter().all(|leak| leak.contains("/registry/configmaps/default/copied"))
    );
    ensure!(found.iter().any(|leak| leak.contains("revision")), "{found:?}");
    ensure!(found.iter().any(|leak| leak.contains(".wal")), "{found:?}");
    ensure!(!found.iter().any(|leak| leak.contains(delivered.expose())), "the plaintext is shown");

    // The other one, in each form, in a Secret that nobody named, of which the first value is overwritten.
    let hex = leaked.expose().bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02X}"));
    create(&cluster, "Secret", "unnamed", "stringData", &hex).await?;
    for (before, form) in [("", "one byte in"), ("x", "in base64, as"), ("xy", "two bytes in")] {
        let encoded = BASE64_STANDARD.encode(format!("{before}{}", leaked.expose()));
        let patch = format!(r#"{{"stringData":{{"value":"{encoded}"}}}}"#);
        cluster
            .kubectl()
            .capture(["patch", "secret", "unnamed", "--patch-file", "/dev/stdin"], &patch)
            .await?
            .success()
            .context(form)?;
    }
    let found = places(&look(&registry, cluster.dir())?);
    for form in
        ["in upper-case hexadecimal", "in base64", "in base64, one byte in", "in base64, two bytes in"]
    {
        let seen = |leak: &String| {
            leak.contains("/registry/secrets/default/unnamed, revision")
                && leak.ends_with(&format!(", {form}"))
        };
        ensure!(found.iter().any(seen), "{form}: {found:?}");
    }

    // In every kind of file that is no database, and in none that holds secrets by design.
    for file in ["copied.log", "keyplane.log.previous", "keyplane-audit.jsonl", "planted.metrics"] {
        let path = cluster.dir().join(file);
        std::fs::write(&path, format!("{{\"key\":\"{}\"}}\n", leaked.expose()))?;
        let found = places(&look(&registry, cluster.dir())?);
        ensure!(found.iter().any(|leak| leak.contains(file)), "{file}: {found:?}");
        std::fs::write(&path, format!("Authorization: Bearer {token}\n"))?;
        let found = places(&look(&registry, cluster.dir())?);
        ensure!(
            found.iter().any(|leak| leak.contains(file) && leak.contains("a token")),
            "{file}: {found:?}"
        );
        std::fs::remove_file(&path)?;
    }
    std::fs::write(cluster.dir().join("ci.kubeconfig"), leaked.expose())?;
    let found = places(&look(&registry, cluster.dir())?);
    ensure!(!found.iter().any(|leak| leak.contains("kubeconfig")), "{found:?}");
    Ok(())
}

/// A run that noted nothing, or left nothing to look through, must not pass for a clean one.
#[tokio::test]
async fn a_run_without_anything_to_look_for_is_a_failure() -> Result<()> {
    let run = tempfile::tempdir()?;
    let scan = |dir: &Path| {
        let dir = dir.to_path_buf();
        async { keyplane_tests::dev::scan::scan(Some(dir)).await.map_err(|error| format!("{error:#}")) }
    };
    let nowhere = scan(&run.path().join("nowhere")).await.err().unwrap_or_default();
    ensure!(nowhere.contains("there is no test run"), "{nowhere}");
    let nothing = scan(run.path()).await.err().unwrap_or_default();
    ensure!(nothing.contains("no key and no token was noted"), "{nothing}");
    PlaintextRegistry::in_dir(run.path()).key(key()?.expose())?;
    let empty = scan(run.path()).await.err().unwrap_or_default();
    ensure!(empty.contains("the run left no database"), "{empty}");
    ensure!(run.path().exists());
    Ok(())
}
