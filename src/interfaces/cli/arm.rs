//! `arm` and `disarm`: whose an account is, and a person's word that it is the sandbox meant.

use jiff::Timestamp;
use serde_json::json;

use super::args::{ArmArgs, DisarmArgs, Globals};
use super::beside;
use super::confirm::confirmed;
use super::context::Context;
use super::exit::{Ending, Exit, Failure, Report};
use crate::core::ids::AccountName;
use crate::core::observation::{Observation, Read};
use crate::interfaces::config::{AccountConfig, Config};
use crate::partner_center::ApiError;
use crate::runtime::account::AccountRuntime;
use crate::runtime::observe::observe;
use crate::store::ArmRequest;

/// `arm`
pub(crate) async fn execute(globals: &Globals, args: &ArmArgs) -> Ending {
    let context = Context::open(globals).await?;
    let account = configured(&context.config, &args.account)?;
    if !account.policy.sandbox {
        let text = format!("account {} is not declared a sandbox", account.name);
        return Err(Failure::new(Exit::Refused, text)
            .hint("sandbox = true belongs to integration sandboxes alone"));
    }
    let face = look(&context, account).await?;
    let limit = account.policy.customers_limit;
    if face.customers > limit {
        let text = format!(
            "{} customers, more than customers_limit = {limit}: no sandbox",
            face.customers
        );
        return Err(Failure::new(Exit::Refused, text)
            .hint("check partner_tenant, and the account in Partner Center"));
    }
    let shown = face.text(account);
    if let (Some(_), Err(why)) = (&args.confirm, &face.legal_name) {
        // Nobody reads what is shown before such a word counts.
        let text = format!("the partner's legal name could not be read: {why}; nothing was armed");
        return Err(Failure::new(Exit::Failed, text).hint(
            "`teardownd check` looks into it; without --confirm the rest is shown before the name \
             is typed",
        ));
    }
    if args.confirm.is_none() {
        context.notice(shown.trim_end());
    }
    let given = args.confirm.as_ref().map(AccountName::as_str);
    confirmed(account.name.as_str(), given, "arm that account")?;
    let request = ArmRequest {
        account: account.name.clone(),
        identity: Some(account.policy.identity()),
        actor: context.actor.clone(),
        reason: args.reason.clone(),
    };
    let effect = context.store.arm(&request, context.clock.now()).await?;
    context.warn_if_silent().await?;
    let json = json!({
        "account": account.name,
        "applied": effect.applied,
        "legal_name": face.legal_name.as_ref().ok(),
        "partner_tenant": account.policy.partner_tenant,
        "cloud": account.cloud.as_str(),
        "client_id": account.client_id,
        "customers": face.customers,
    });
    let shown = if args.confirm.is_some() { shown } else { String::new() };
    Ok(Report::done(format!("{shown}{}\n", effect.text), json))
}

/// `disarm`
pub(crate) async fn disarm(globals: &Globals, args: &DisarmArgs) -> Ending {
    let context = Context::open(globals).await?;
    let request = ArmRequest {
        account: args.account.clone(),
        identity: None,
        actor: context.actor.clone(),
        reason: args.reason.clone(),
    };
    let effect = context.store.arm(&request, context.clock.now()).await?;
    context.warn_if_silent().await?;
    let json = json!({"account": args.account, "applied": effect.applied});
    let text = format!("account {}: {}", args.account, effect.text);
    if !effect.applied {
        return Err(Failure::new(Exit::Failed, text));
    }
    Ok(Report::done(format!("{text}\n"), json))
}

fn configured<'a>(config: &'a Config, name: &AccountName) -> Result<&'a AccountConfig, Failure> {
    config.account(name).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("there is no account {name}"))
            .hint(format!("the configuration has {}", config.account_names()))
    })
}

/// What the API says of an account.
struct Face {
    /// The partner's legal name, or why it could not be read.
    legal_name: Result<String, String>,
    customers: usize,
}

impl Face {
    fn text(&self, account: &AccountConfig) -> String {
        let name = match &self.legal_name {
            Ok(name) => name.clone(),
            Err(why) => format!("could not be read: {why}"),
        };
        let policy = &account.policy;
        format!(
            "account         {}\n\
             legal name      {name}\n\
             partner tenant  {}\n\
             cloud           {}\n\
             client id       {}\n\
             customers       {} of at most {}\n",
            account.name,
            policy.partner_tenant,
            account.cloud,
            account.client_id,
            self.customers,
            policy.customers_limit
        )
    }
}

/// Reads whose the account is. A token of another tenant is refused by the client before that.
async fn look(context: &Context, account: &AccountConfig) -> Result<Face, Failure> {
    let (ground, database) = beside::ground(&context.config).await?;
    database?;
    let runtime: AccountRuntime =
        ground.account(account).map_err(|error| Failure::new(Exit::Unfit, error.to_string()))?;
    let failed = |error: ApiError| {
        Failure::new(Exit::Failed, format!("account {}: {error}", account.name))
            .hint("`teardownd check` looks into it")
    };
    runtime.client.check_credential().await.map_err(failed)?;
    let mut seen = Observation::default();
    let census = vec![Read::Census { not_before: Timestamp::MIN }];
    let nobody = account.policy.partner_tenant;
    observe(&runtime.client, nobody, census, &mut seen).await.map_err(failed)?;
    // Some credentials may not read the profile; the rest still says whose the account is.
    let legal_name = match runtime.client.legal_business_profile().await {
        Ok(profile) => profile.fact.company_name.ok_or_else(|| "there is none".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let customers = seen.census.map_or(0, |census| census.fact.customers);
    Ok(Face { legal_name, customers })
}
