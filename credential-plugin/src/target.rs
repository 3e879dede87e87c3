//! Which exchange a command means, and with which key: what its arguments say, else the environment, else what the
//! kubeconfig's context would tell the plugin.

mod contexts;

use std::path::PathBuf;

use clap::Args;

pub use self::contexts::context_for;
use crate::commands::get_token::GetTokenArgs;
use crate::environment::{self, URL_VARIABLE};
use crate::exchange::address::ExchangeAddress;
use crate::exchange::allowed::AllowedExchange;
use crate::exchange::arguments::ExchangeArgs;
use crate::failure::{Failure, FailureKind};
use crate::key_source::KeyArgs;
use crate::kubeconfig::current::{ContextArgs, CurrentContext, PluginCall};
use crate::kubectl::has_no_context;
use crate::token::cache_folder::CacheArgs;
use crate::verbose;

/// The arguments of a command that uses an exchange as kubectl would.
#[derive(Args, Clone, Debug)]
pub struct TargetArgs {
    /// Which exchange.
    #[command(flatten)]
    pub exchange: ExchangeArgs,
    /// Which context.
    #[command(flatten)]
    pub context: ContextArgs,
    /// Which key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Which cache.
    #[command(flatten)]
    pub cache: CacheArgs,
}

impl TargetArgs {
    /// Finds what they mean.
    ///
    /// # Errors
    /// As [`Target::find`].
    pub fn find(&self) -> Result<Target, Failure> {
        Target::find(&self.exchange, &self.context, &self.key, &self.cache)
    }
}

/// An exchange, and how its key is found.
#[derive(Debug)]
pub struct Target {
    /// The exchange.
    pub exchange: ExchangeAddress,
    /// The arguments that name it: the command's own, and the context's where the command has none.
    pub arguments: ExchangeArgs,
    /// Where the key comes from: the command's own arguments when they name a source, else the context's.
    pub key: KeyArgs,
    /// The folder of the token cache, when there is one.
    pub cache: Option<PathBuf>,
    /// The context that was looked into, when one was.
    pub context: Option<String>,
}

impl Target {
    /// Finds what the arguments mean. The variables of a context's user then count for this process too, as when
    /// kubectl starts the plugin.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when nothing names an exchange, or the context's user does not allow the one it names;
    /// [`FailureKind::Kubectl`] when there is no kubectl, the kubeconfig cannot be read, or has no such context as was asked
    /// for; [`FailureKind::File`] for a CA.
    pub fn find(
        exchange: &ExchangeArgs,
        context: &ContextArgs,
        key: &KeyArgs,
        cache: &CacheArgs,
    ) -> Result<Self, Failure> {
        let wanted = context.context.is_some();
        let named = exchange.server.is_some() || environment::text(URL_VARIABLE)?.is_some();
        if named && !wanted {
            return Ok(Self {
                exchange: exchange.locate(None, &[])?,
                arguments: exchange.clone(),
                key: key.clone(),
                cache: cache.folder(),
                context: None,
            });
        }
        let current = CurrentContext::read(context).map_err(|failure| {
            if wanted || context.kubeconfig.is_some() {
                return failure;
            }
            if has_no_context(&failure) {
                // Nobody said that there is one.
                let [what, ..] = failure.parts();
                return unknown(&what);
            }
            failure.or_else_do("or give --server URL")
        })?;
        verbose::note(format!("looking into context {} of the kubeconfig", current.name));
        let Some(call) = current.plugin_call()? else {
            return Err(unknown(&format!(
                "the user {} of context {} does not call kubectl-keyplane",
                current.user, current.name
            )));
        };
        Self::of_call(exchange, key, cache, call, current.name)
    }

    fn of_call(
        exchange: &ExchangeArgs,
        key: &KeyArgs,
        cache: &CacheArgs,
        call: PluginCall,
        context: String,
    ) -> Result<Self, Failure> {
        let PluginCall { args, variables, cluster } = call;
        environment::add(variables);
        let allowed = allowed(&args)?;
        let exchange = ExchangeArgs {
            server: args.exchange.server,
            certificate_authority: exchange
                .certificate_authority
                .clone()
                .or(args.exchange.certificate_authority),
            tls_server_name: exchange.tls_server_name.clone().or(args.exchange.tls_server_name),
            proxy_url: exchange.proxy_url.clone().or(args.exchange.proxy_url),
            timeout: exchange.timeout,
            // What was typed, was typed in this one.
            in_any_folder: exchange.certificate_authority.is_none(),
        };
        Ok(Self {
            exchange: exchange.locate(cluster.as_ref(), &allowed)?,
            arguments: exchange,
            key: if key.name_a_source() {
                key.clone()
            } else {
                let key_command_timeout = key.key_command_timeout.or(args.key.key_command_timeout);
                KeyArgs { key_command_timeout, in_any_folder: true, ..args.key }
            },
            cache: if cache.no_cache || cache.cache_dir.is_some() {
                cache.folder()
            } else {
                args.cache.folder()
            },
            context: Some(context),
        })
    }
}

fn allowed(args: &GetTokenArgs) -> Result<Vec<AllowedExchange>, Failure> {
    args.allow_servers.iter().map(|text| AllowedExchange::parse(text)).collect()
}

fn unknown(why: &str) -> Failure {
    Failure::new(
        FailureKind::Usage,
        "the exchange's address is not known",
        format!("neither --server nor {URL_VARIABLE} names it, and {why}"),
        "give --server URL, or make a context that uses kubectl-keyplane the current one: kubectl config use-context NAME",
    )
}
