//! `get-token`: the cached token when it lives long enough, else a fresh one.

use std::env;
use std::io::Write;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use keyplane_core::key_format::PlaintextKey;
use zeroize::Zeroizing;

use crate::allowed_exchange::AllowedExchange;
use crate::cache_folder;
use crate::cli::GetTokenArgs;
use crate::environment::{self, CA_VARIABLE, URL_VARIABLE};
use crate::exchange_address::{ExchangeAddress, Named};
use crate::exchange_client;
use crate::exec_protocol::{ApiVersion, Credential, EXEC_INFO_VARIABLE, ExecInfo};
use crate::failure::{Failure, FailureKind};
use crate::hand_out::{self, HandOutRecord};
use crate::key_source::{self, KEY_VARIABLE};
use crate::token::BearerToken;
use crate::token_cache::{Slot, TokenCache};
use crate::token_life::{LEAST_LIFE, TokenLife};

/// Writes an `ExecCredential` to `out`, and nothing else.
///
/// # Errors
/// Any kind of failure; then nothing was written.
pub fn run(args: &GetTokenArgs, out: &mut impl Write) -> Result<(), Failure> {
    let request = exec_info()?;
    let key = key_source::read(args.key_file.as_deref(), env::var_os(KEY_VARIABLE))?;
    let cluster = request.cluster.as_ref();
    let allowed =
        args.allow_servers.iter().map(|text| AllowedExchange::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let exchange = ExchangeAddress::locate(
        &Named {
            server: args.server.as_deref(),
            certificate_authority: args.certificate_authority.as_deref(),
        },
        cluster.and_then(|cluster| cluster.config.as_ref()),
        &allowed,
        &Named {
            server: environment::text(URL_VARIABLE)?.as_deref(),
            certificate_authority: environment::path(CA_VARIABLE).as_deref(),
        },
    )?;
    let cache = (!args.no_cache)
        .then(|| cache_folder::locate(args.cache_dir.clone()))
        .flatten()
        .map(|folder| TokenCache::new(folder, Slot::of(&exchange, key.digest(), cluster)));
    let hand_outs = || {
        let client = request.from_client.then(hand_out::asking_process).flatten()?;
        Some(HandOutRecord::read(cache.as_ref()?.hand_outs(), client, now()))
    };
    if let Some((token, life)) = cache.as_ref().and_then(|cache| cache.read(now())) {
        let hand_outs = hand_outs();
        if !hand_outs.as_ref().is_some_and(|record| record.says_refused(life)) {
            print(request.api_version, &token, life, out)?;
            remember(hand_outs, life);
            return Ok(());
        }
    }
    let swapped =
        exchange_client::swap(&exchange, &key, request.api_version, Duration::from_secs(args.timeout));
    let (token, life) = swapped.map_err(|failure| refused(failure, &key, cache.as_ref()))?;
    if !life.may_be_handed_out(now()) {
        return Err(Failure::new(
            FailureKind::ShortLived,
            format!("the exchange's token has less than {} s left", LEAST_LIFE.num_seconds()),
            exchange.base.as_str(),
            "check when the key expires (spec.expiresAt of the ApiKey) and use one that lives longer",
        ));
    }
    if let Some(cache) = &cache {
        cache.write(&token, life);
    }
    print(request.api_version, &token, life, out)?;
    remember(hand_outs(), life);
    Ok(())
}

fn remember(hand_outs: Option<HandOutRecord>, life: TokenLife) {
    if let Some(record) = hand_outs {
        record.remember(life, now());
    }
}

/// What a refusal brings along: the cached token of a key that is no more is forgotten, and the line says by which
/// name its owner finds the key.
fn refused(failure: Failure, key: &PlaintextKey, cache: Option<&TokenCache>) -> Failure {
    if !matches!(failure.kind(), FailureKind::Refused | FailureKind::Forbidden) {
        return failure;
    }
    if let Some(cache) = cache {
        cache.remove();
    }
    if failure.kind() == FailureKind::Forbidden {
        return failure;
    }
    failure
        .or_else_do(&format!("or ask who declared it: kubectl get apikeys -A shows PREFIX {}", key.prefix()))
}

fn exec_info() -> Result<ExecInfo, Failure> {
    match env::var_os(EXEC_INFO_VARIABLE) {
        Some(text) if !text.is_empty() => ExecInfo::parse(&text.to_string_lossy()),
        _ => Ok(ExecInfo::default()),
    }
}

fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}

fn print(
    version: ApiVersion,
    token: &BearerToken,
    life: TokenLife,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let credential = Credential::new(version, token, life.expires_at());
    let mut json = serde_json::to_vec(&credential)
        .map(Zeroizing::new)
        .map_err(|error| Failure::output(&error.into()))?;
    json.push(b'\n');
    out.write_all(&json).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}
