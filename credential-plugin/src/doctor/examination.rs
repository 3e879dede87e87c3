//! Which check comes after which, and what each rests on.

use std::env;
use std::io::Write;

use chrono::Utc;
use keyplane_core::key_format::KeyDigest;

use crate::commands::whoami::Identity;
use crate::doctor::access::{self, AccessSeen};
use crate::doctor::api_server::{self, Fault, ServerSeen};
use crate::doctor::cache::{self, CacheSeen};
use crate::doctor::exchange::{self, WaySeen};
use crate::doctor::finding::{Finding, Outcome};
use crate::doctor::key::{self, KeySeen};
use crate::doctor::kuberc::{KubercSeen, Policy};
use crate::doctor::plugin_policy::PolicySeen;
use crate::doctor::probe::{self, NoReply};
use crate::doctor::programs::{self, KubectlSeen, PLUGIN, PluginSeen};
use crate::doctor::shell::kubectl;
use crate::doctor::time_limit::TimeLimit;
use crate::doctor::user_entry::UserSeen;
use crate::doctor::{clock, config_files, context};
use crate::environment::{self, URL_VARIABLE};
use crate::exchange::address::BaseUrl;
use crate::exchange::{client, proxy};
use crate::exec_protocol::ApiVersion;
use crate::failure::Failure;
use crate::key_source::FoundKey;
use crate::kubeconfig::current::{ContextArgs, CurrentContext};
use crate::output;
use crate::target::{Target, TargetArgs};
use crate::token::BearerToken;
use crate::token::life::TokenLife;

/// Takes a finding as soon as it is known.
type Tell<'a> = &'a mut dyn FnMut(Finding) -> Result<(), Failure>;

/// Makes every check within the time of `--timeout`, and tells each finding at once; a warning goes to `terminal`.
///
/// # Errors
/// What `tell` and `terminal` fail with, and nothing else: whatever is wrong is a finding.
pub fn examine(args: &TargetArgs, terminal: &mut impl Write, tell: Tell<'_>) -> Result<(), Failure> {
    let limit = TimeLimit::after(args.exchange.timeout());
    let context = before_the_exchange(args, limit, tell)?;
    let Some(target) = target(args, context.as_ref(), limit, tell)? else {
        return nothing_to_ask(tell);
    };
    let key = key(&target, limit, tell)?;
    if let Some(warning) = key.as_ref().and_then(|key| key.instead_of_the_command_in(&args.key)) {
        output::line(terminal, &warning)?;
    }
    let way = WaySeen::observe(&target.exchange, limit);
    for finding in way.judge() {
        tell(finding)?;
    }
    let (identity, token) = swap(&target, key.as_ref(), &way, limit, tell)?;
    let digest = key.as_ref().map(|key| (&target.exchange.base, key.digest()));
    tell_cache(&target, digest, tell)?;
    at_the_api_server(args, context.as_ref(), token.as_ref(), identity.as_ref(), limit, tell)
}

/// The programs, kuberc and the kubeconfig; gives the context when its user calls this plugin.
fn before_the_exchange(
    args: &TargetArgs,
    limit: TimeLimit,
    tell: Tell<'_>,
) -> Result<Option<CurrentContext>, Failure> {
    let plugin = PluginSeen::observe(limit);
    tell(plugin.judge())?;
    let kubectl = KubectlSeen::observe(limit);
    let kubectl_line = kubectl.judge();
    let mut usable = kubectl_line.outcome == Outcome::Ok;
    tell(kubectl_line)?;
    tell(programs::completion(&plugin))?;
    let kuberc = KubercSeen::observe();
    let kuberc_line = kuberc.judge(kubectl.release());
    usable &= kuberc_line.outcome != Outcome::Problem;
    tell(kuberc_line)?;

    let context = if args.exchange.server.is_some() {
        tell(Finding::not_checked(context::CHECK, "--server is given"))?;
        None
    } else if usable {
        read_context(&args.context, limit, tell)?
    } else {
        tell(Finding::not_checked(context::CHECK, "kubectl does nothing until it is mended"))?;
        None
    };
    let user = context.as_ref().map(|context| UserSeen::observe(context, &args.context));
    for finding in user.as_ref().map_or_else(|| vec![no_context("user")], UserSeen::judge) {
        tell(finding)?;
    }
    for finding in config_files::judge(&config_files::observe(&args.context)) {
        tell(finding)?;
    }
    let command = user.as_ref().and_then(UserSeen::plugin_command);
    if usable {
        let none = Policy::default();
        let file = match &kuberc {
            KubercSeen::Says { path, .. } => Some(path.as_path()),
            _ => None,
        };
        let policy = kuberc.policy().unwrap_or(&none);
        tell(PolicySeen::observe(policy, file, kubectl.release(), command.unwrap_or(PLUGIN)).judge())?;
    } else {
        tell(Finding::not_checked("plugin-policy", "kubectl does nothing until it is mended"))?;
    }
    let calls_plugin = user.as_ref().is_some_and(|user| user.calls_plugin == Ok(true));
    Ok(context.filter(|_| calls_plugin))
}

fn no_context(check: &'static str) -> Finding {
    Finding::not_checked(check, "there is no context")
}

fn read_context(
    args: &ContextArgs,
    limit: TimeLimit,
    tell: Tell<'_>,
) -> Result<Option<CurrentContext>, Failure> {
    let own = args.clone();
    let read = limit.within(move || CurrentContext::read(&own));
    tell(context::judge(read.as_ref(), args))?;
    Ok(read.and_then(Result::ok))
}

/// The exchange, the key's place and the cache: as the context's user has them, unless arguments name others.
fn target(
    args: &TargetArgs,
    context: Option<&CurrentContext>,
    limit: TimeLimit,
    tell: Tell<'_>,
) -> Result<Option<Target>, Failure> {
    let named = args.exchange.server.is_some() || environment::value(URL_VARIABLE).is_some();
    if context.is_none() && !named {
        tell(Finding::not_checked(
            exchange::EXCHANGE,
            "there is no context whose user calls kubectl-keyplane as it should",
        ))?;
        return Ok(None);
    }
    let mut wanted = args.clone();
    // The context by its name: what kubectl uses comes before KEYPLANE_URL.
    wanted.context.context = context.map(|context| context.name.clone());
    match limit.within(move || wanted.find()) {
        Some(Ok(target)) => {
            tell(exchange::judge_choice(&target.exchange))?;
            Ok(Some(target))
        }
        Some(Err(failure)) => {
            tell(Finding::of_failure(exchange::EXCHANGE, &failure))?;
            Ok(None)
        }
        None => {
            tell(Finding::not_checked(exchange::EXCHANGE, "there is no time left"))?;
            Ok(None)
        }
    }
}

fn nothing_to_ask(tell: Tell<'_>) -> Result<(), Failure> {
    let checks = [
        key::KEY,
        exchange::Step::Name.check(),
        exchange::Step::Connection.check(),
        exchange::Step::Tls.check(),
        exchange::Step::Answer.check(),
        clock::CHECK,
        key::WHOAMI,
        key::TOKEN,
        cache::CHECK,
        api_server::CHECK,
        access::CHECK,
    ];
    for check in checks {
        tell(Finding::not_checked(check, "the exchange is not known"))?;
    }
    Ok(())
}

/// The key, read.
fn key(target: &Target, limit: TimeLimit, tell: Tell<'_>) -> Result<Option<FoundKey>, Failure> {
    let (args, base, cache) = (target.key.clone(), target.exchange.base.clone(), target.cache.clone());
    let found = limit.within(move || {
        let found = FoundKey::find(&args, &base, cache.as_deref())?;
        let prefix = found.read()?.prefix().to_string();
        let seen = KeySeen { source: found.source().to_string(), prefix };
        Ok::<_, Failure>((found, seen))
    });
    tell(key::judge_key(found.as_ref().map(|found| found.as_ref().map(|(_, seen)| seen))))?;
    Ok(found.and_then(Result::ok).map(|(key, _)| key))
}

/// What the exchange says about the key, and the token that it gives for it.
fn swap(
    target: &Target,
    key: Option<&FoundKey>,
    way: &WaySeen,
    limit: TimeLimit,
    tell: Tell<'_>,
) -> Result<(Option<Identity>, Option<BearerToken>), Failure> {
    let why = if key.is_none() {
        Some("there is no key")
    } else if way.is_reached() {
        None
    } else {
        Some(exchange::NOT_REACHED)
    };
    let plaintext = key.and_then(|key| key.read().ok());
    let (None, Some(plaintext)) = (why, plaintext) else {
        let why = why.unwrap_or("there is no key");
        tell(Finding::not_checked(key::WHOAMI, why))?;
        tell(Finding::not_checked(key::TOKEN, why))?;
        return Ok((None, None));
    };
    let identity = Identity::ask(&target.exchange, plaintext, limit.step());
    tell(key::judge_identity(identity.as_ref(), Utc::now()))?;
    if identity.as_ref().is_err_and(key::is_refusal) {
        tell(Finding::not_checked(key::TOKEN, "the exchange refuses the key"))?;
        return Ok((None, None));
    }
    let swapped = client::swap(&target.exchange, plaintext, ApiVersion::V1, limit.step(), None);
    let life: Result<TokenLife, &Failure> = swapped.as_ref().map(|(_, life)| *life);
    tell(key::judge_token(life, Utc::now()))?;
    Ok((identity.ok(), swapped.ok().map(|(token, _)| token)))
}

fn tell_cache(target: &Target, key: Option<(&BaseUrl, KeyDigest)>, tell: Tell<'_>) -> Result<(), Failure> {
    for finding in CacheSeen::observe(target.cache.as_deref(), key, Utc::now()).judge(Utc::now()) {
        tell(finding)?;
    }
    Ok(())
}

fn at_the_api_server(
    args: &TargetArgs,
    context: Option<&CurrentContext>,
    token: Option<&BearerToken>,
    identity: Option<&Identity>,
    limit: TimeLimit,
    tell: Tell<'_>,
) -> Result<(), Failure> {
    let (Some(context), Some(token)) = (context, token) else {
        let why = if context.is_none() { "there is no context" } else { "there is no token" };
        tell(Finding::not_checked(api_server::CHECK, why))?;
        return tell(Finding::not_checked(access::CHECK, why));
    };
    let kubectl = kubectl(&args.context);
    let address = match api_server::address(&context.cluster, &kubectl) {
        Ok(address) => address,
        Err(finding) => {
            tell(finding)?;
            return tell(Finding::not_checked(access::CHECK, "the API server was not asked"));
        }
    };
    let reached: Option<Vec<String>> = identity.map(|identity| {
        identity.namespaces.iter().map(|namespace| namespace.kubernetes_name.clone()).collect()
    });
    let namespace = access::namespace(context.namespace.as_deref(), reached.as_deref());
    let question = access::question(&namespace);
    // As for kubectl: what the user's entry sets for the plugin does not count here.
    let variable = |name: &str| Ok(env::var(name).ok().filter(|value| !value.is_empty()));
    let asked = proxy::choose(&address, variable).map_err(NoReply::from).and_then(|proxy| {
        probe::post(&address, proxy.as_ref(), access::PATH, token, question.as_bytes(), limit.step())
    });
    let seen = match &asked {
        Ok(reply) => {
            ServerSeen::Answered { status: reply.status, is_kubernetes: access::is_kubernetes(&reply.body) }
        }
        Err(NoReply::Failure(failure)) => ServerSeen::NotAsked(failure.clone()),
        Err(NoReply::Error(error)) => ServerSeen::Unreached(Fault::of(error)),
    };
    tell(api_server::judge(&seen, &context.cluster, &kubectl, Utc::now()))?;
    match asked.ok().and_then(|reply| access::answer(&reply.body)) {
        Some(allowed) => tell(access::judge(&AccessSeen {
            is_contexts: context.namespace.is_some(),
            namespace,
            allowed,
            reached,
            context: context.name.clone(),
            kubectl,
        })),
        None => tell(Finding::not_checked(access::CHECK, "the API server did not say what the token may do")),
    }
}
