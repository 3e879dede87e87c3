//! Who may do what over HTTP: every operation of every surface with every credential, and what each cell must be.
//!
//! A row is a caller, a column a group of operations (`operations.rs`) that let the same callers in. Read it as the promise:
//! where a cell is neither `ok` nor `theirs`, nothing happens.

mod attacks;
mod callers;
mod effects;
mod ids;
mod inference_service;
mod operations;
mod outcome;
mod resources;
mod stage;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use self::callers::Caller;
use self::operations::{Operation, operations};
use self::outcome::Outcome;
use self::stage::Stage;

/// How many requests are under way at once.
const AT_ONCE: usize = 6;

/// The account's own resources are asked about, unless a cell says `theirs`: then the caller is let into another account,
/// where the ids are unknown.
///
/// | cell | means |
/// | --- | --- |
/// | `ok` | it is done, and its effect is seen |
/// | `theirs` | it is done in the caller's own account, not in this one; an id of this one is 404 |
/// | `miss` `token` | 401: no access token; one that the API server does not accept |
/// | `key` | 401 (403 in the words of seed 004): missing, invalid, revoked or expired API key |
/// | `over` `ended` | the same, and its holder is told that it is expired, or revoked |
/// | `which` | 400: the caller owns no account and names none |
/// | `rbac` | 403: RBAC does not let them |
/// | `scope` `kube` | 403: the key's scope does not include it; no Kubernetes |
/// | `addr` `lock` `ready` | 403: from this address not; locked; its declaration cannot be met |
const MATRIX: &str = "
                              | account       | kubernetes           | verify with the scope         | panel's SSH keys | gpu-cloud's | inference |
caller                        | read   write  | config swap   who    | any  all   infer ssh   exec   | panel  panel+    | gpu         | models    |
nobody                        | miss   miss   | miss   key    key    | key  key   key   key   key    | miss   miss      | key         | key       |
another scheme                | miss   miss   | miss   key    key    | key  key   key   key   key    | miss   miss      | key         | key       |
a garbage token               | token  token  | token  key    key    | key  key   key   key   key    | token  token     | key         | key       |
a key with a slip, as token   | miss   miss   | miss   key    key    | key  key   key   key   key    | key    key       | key         | key       |
a key with a slip             | miss   miss   | key    key    key    | key  key   key   key   key    | miss   miss      | key         | key       |
an owner's ended token        | token  token  | token  key    key    | key  key   key   key   key    | token  token     | key         | key       |
an owner's token, elsewhere   | token  token  | token  key    key    | key  key   key   key   key    | token  token     | key         | key       |
another owner                 | theirs theirs | theirs key    key    | key  key   key   key   key    | theirs theirs    | key         | key       |
another owner, naming it      | rbac   rbac   | rbac   key    key    | key  key   key   key   key    | rbac   rbac      | key         | key       |
another owner, in the query   | rbac   rbac   | rbac   key    key    | key  key   key   key   key    | rbac   rbac      | key         | key       |
viewer                        | which  which  | which  key    key    | key  key   key   key   key    | which  which     | key         | key       |
viewer, naming it             | ok     rbac   | ok     key    key    | key  key   key   key   key    | ok     rbac      | key         | key       |
owner                         | ok     ok     | ok     key    key    | key  key   key   key   key    | ok     ok        | key         | key       |
owner, naming it              | ok     ok     | ok     key    key    | key  key   key   key   key    | ok     ok        | key         | key       |
administrator                 | which  which  | which  key    key    | key  key   key   key   key    | which  which     | key         | key       |
administrator, naming it      | ok     ok     | ok     key    key    | key  key   key   key   key    | ok     ok        | key         | key       |
key's token                   | which  which  | which  key    key    | key  key   key   key   key    | which  which     | key         | key       |
key's token, naming it        | rbac   rbac   | rbac   key    key    | key  key   key   key   key    | rbac   rbac      | key         | key       |
all                           | miss   miss   | ok     ok     ok     | ok   ok    ok    ok    ok     | miss   miss      | ok          | ok        |
inference                     | miss   miss   | scope  kube   ok     | ok   scope ok    scope scope  | miss   miss      | scope       | ok        |
sshKeys                       | miss   miss   | scope  kube   ok     | ok   scope scope ok    scope  | miss   miss      | ok          | scope     |
kubernetesExec                | miss   miss   | ok     ok     ok     | ok   scope scope scope ok     | miss   miss      | scope       | scope     |
all, bearer                   | miss   miss   | miss   key    key    | ok   ok    ok    ok    ok     | ok     ok        | key         | key       |
inference, bearer             | miss   miss   | miss   key    key    | ok   scope ok    scope scope  | scope  scope     | key         | key       |
sshKeys, bearer               | miss   miss   | miss   key    key    | ok   scope scope ok    scope  | ok     ok        | key         | key       |
kubernetesExec, bearer        | miss   miss   | miss   key    key    | ok   scope scope scope ok     | scope  scope     | key         | key       |
unknown                       | miss   miss   | key    key    key    | key  key   key   key   key    | miss   miss      | key         | key       |
expired                       | miss   miss   | over   over   over   | key  key   key   key   key    | miss   miss      | key         | over      |
revoked                       | miss   miss   | ended  ended  ended  | key  key   key   key   key    | miss   miss      | key         | ended     |
deleted                       | miss   miss   | key    key    key    | key  key   key   key   key    | miss   miss      | key         | key       |
rotated out                   | miss   miss   | key    key    key    | key  key   key   key   key    | miss   miss      | key         | key       |
locked                        | miss   miss   | lock   lock   lock   | lock lock  lock  lock  lock   | miss   miss      | lock        | lock      |
not ready                     | miss   miss   | ready  ready  ready  | ready ready ready ready ready | miss   miss      | ready       | ready     |
elsewhere                     | miss   miss   | addr   addr   addr   | addr addr  addr  addr  addr   | miss   miss      | addr        | addr      |
unknown, bearer               | miss   miss   | miss   key    key    | key  key   key   key   key    | key    key       | key         | key       |
expired, bearer               | miss   miss   | miss   key    key    | key  key   key   key   key    | key    key       | key         | key       |
revoked, bearer               | miss   miss   | miss   key    key    | key  key   key   key   key    | key    key       | key         | key       |
deleted, bearer               | miss   miss   | miss   key    key    | key  key   key   key   key    | key    key       | key         | key       |
rotated out, bearer           | miss   miss   | miss   key    key    | key  key   key   key   key    | key    key       | key         | key       |
locked, bearer                | miss   miss   | miss   key    key    | lock lock  lock  lock  lock   | lock   lock      | key         | key       |
not ready, bearer             | miss   miss   | miss   key    key    | ready ready ready ready ready | ready  ready     | key         | key       |
elsewhere, bearer             | miss   miss   | miss   key    key    | addr addr  addr  addr  addr   | addr   addr      | key         | key       |
another account's             | miss   miss   | theirs theirs theirs | theirs theirs theirs theirs theirs | miss miss    | theirs      | theirs    |
another account's, naming it  | miss   miss   | theirs theirs theirs | theirs theirs theirs theirs theirs | miss miss    | theirs      | theirs    |
another account's, bearer     | miss   miss   | miss   key    key    | theirs theirs theirs theirs theirs | theirs theirs | key        | key       |
a key twice                   | miss   miss   | key    key    key    | key  key   key   key   key    | miss   miss      | key         | key       |
a key twice, bearer           | miss   miss   | miss   key    key    | key  key   key   key   key    | miss   miss      | key         | key       |
two keys in a list            | miss   miss   | key    key    key    | key  key   key   key   key    | miss   miss      | key         | key       |
a key in both headers         | miss   miss   | key    ok     ok     | key  key   key   key   key    | ok     ok        | ok          | ok        |
owner with a key              | ok     ok     | key    ok     ok     | key  key   key   key   key    | ok     ok        | ok          | ok        |
owner's token twice           | miss   miss   | miss   key    key    | key  key   key   key   key    | miss   miss      | key         | key       |
";

/// The cells, by caller and column.
fn cells() -> Result<BTreeMap<&'static str, BTreeMap<&'static str, Outcome>>> {
    let mut lines = MATRIX.trim_matches('\n').lines().skip(1);
    let parts = |line: &'static str| {
        let (name, rest) = line.split_once('|').context("a row")?;
        anyhow::Ok((name.trim(), rest.split(['|', ' ']).filter(|cell| !cell.is_empty()).collect::<Vec<_>>()))
    };
    let (_, columns) = parts(lines.next().context("a head")?)?;
    lines
        .map(|line| {
            let (caller, row) = parts(line)?;
            ensure!(row.len() == columns.len(), "{caller}: {} cells", row.len());
            let outcomes = row.iter().map(|cell| cell.parse()).collect::<Result<Vec<_>>>();
            let outcomes = outcomes.with_context(|| caller.to_owned())?;
            Ok((caller, columns.iter().copied().zip(outcomes).collect()))
        })
        .collect()
}

/// One cell's operation.
struct Cell<'a> {
    caller: &'a Caller,
    operation: Operation,
    outcome: Outcome,
}

impl Cell<'_> {
    fn what(&self) -> String {
        format!("{}: {}", self.caller.name, self.operation)
    }

    /// Whether something is changed in the account, for which the cell needs a resource of its own.
    fn changes_the_account(&self) -> bool {
        self.outcome == Outcome::Ok && self.operation.effect.is_some()
    }
}

#[tokio::test]
async fn every_caller_gets_what_the_matrix_says_of_every_operation_and_nothing_else() -> Result<()> {
    let stage = Stage::set("matrix").await?;
    let cells = cells()?;
    let known: Vec<&str> = stage.callers.iter().map(|caller| caller.name).collect();
    ensure!(known.len() == cells.len() && known.iter().all(|name| cells.contains_key(name)), "{known:?}");
    let mut all = Vec::new();
    for caller in &stage.callers {
        let row = cells.get(caller.name).context("a row")?;
        for operation in operations(&stage.ids) {
            let outcome = *row.get(operation.column).with_context(|| operation.column.to_owned())?;
            all.push(Cell { caller, operation, outcome });
        }
    }
    let count = all.len();
    let (changes, still): (Vec<_>, Vec<_>) = all.into_iter().partition(Cell::changes_the_account);
    let allowed = still.iter().filter(|cell| cell.outcome.lets_in()).count();
    println!(
        "matrix: {count} cells: {} refused, {} let in, {} of these change the account",
        still.len() - allowed,
        allowed + changes.len(),
        changes.len()
    );

    // What changes nothing in this account comes first, and changes nothing.
    let before = resources::of(&stage).await?;
    let wrong: Vec<String> = stream::iter(&still)
        .map(async |cell| {
            let answer = cell.operation.ask(&stage, cell.caller).await?;
            let said = cell.outcome.check(&stage, &cell.operation, &answer);
            anyhow::Ok(said.err().map(|error| format!("{}: {error:#}", cell.what())))
        })
        .buffer_unordered(AT_ONCE)
        .try_filter_map(async |wrong| Ok(wrong))
        .try_collect()
        .await?;
    ensure!(wrong.is_empty(), "{} cells of {} are wrong:\n{}", wrong.len(), still.len(), wrong.join("\n"));
    let after = resources::of(&stage).await?;
    resources::ensure_same(&before, &after)?;
    let to_inference =
        still.iter().filter(|cell| cell.operation.column == "models" && cell.outcome.lets_in());
    let (reached, let_in) = (stage.inference.reached(), to_inference.count());
    ensure!(reached == let_in, "{reached} requests reached the inference service, and {let_in} were let in");

    // Each of these has a resource of its own, and its effect is looked for.
    let wrong: Vec<String> = stream::iter(changes.iter().enumerate())
        .map(async |(number, cell)| {
            let effect = cell.operation.effect.context("an effect")?;
            let done = effects::done(&stage, cell.caller, effect, number).await;
            anyhow::Ok(done.err().map(|error| format!("{}: {error:#}", cell.what())))
        })
        .buffer_unordered(AT_ONCE)
        .try_filter_map(async |wrong| Ok(wrong))
        .try_collect()
        .await?;
    ensure!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), changes.len(), wrong.join("\n"));
    Ok(())
}
