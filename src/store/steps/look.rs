//! The steps that only look.

use jiff::Timestamp;

use crate::core::account::Account;
use crate::core::command::Command;
use crate::core::ids::{AccountName, TeardownId, TenantId};
use crate::core::protection::Protection;
use crate::core::teardown::Teardown;
use crate::store::model::time::millis;
use crate::store::tables::{
    accounts, acks, audit, commands, customers, faults, protections, purchases, replicas, survey,
    teardowns, transitions, version,
};
use crate::store::{
    Ack, AuditEntry, AuditRange, Engine, Filter, KnownCustomers, Replica, Result, Store,
    StoredFault, StoredPurchase, Survey, SurveyRequest, TransitionRecord, Tx,
};

impl Store {
    /// Rows that match, newest first.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Teardown>> {
        self.read("list", || async move |tx: &mut Tx| teardowns::list(tx, filter).await).await
    }

    /// Stored purchases of a row, by key.
    pub async fn purchases(&self, teardown: TeardownId) -> Result<Vec<StoredPurchase>> {
        self.read("purchases", || {
            async move |tx: &mut Tx| purchases::of_teardown(tx, teardown).await
        })
        .await
    }

    /// Every command ever committed for a tenant of an account, oldest first.
    pub async fn commands(&self, account: &AccountName, tenant: TenantId) -> Result<Vec<Command>> {
        self.read("commands", || {
            async move |tx: &mut Tx| commands::of_tenant(tx, account, tenant).await
        })
        .await
    }

    /// History of the rows of a tenant, oldest first.
    pub async fn history(
        &self,
        account: Option<&AccountName>,
        tenant: TenantId,
    ) -> Result<Vec<TransitionRecord>> {
        self.read("history", || {
            async move |tx: &mut Tx| transitions::of_tenant(tx, account, tenant).await
        })
        .await
    }

    /// The failures kept of every teardown of a tenant, oldest first: the newest
    /// [`FAULTS_KEPT`](crate::store::FAULTS_KEPT) of each.
    pub async fn faults(
        &self,
        account: &AccountName,
        tenant: TenantId,
    ) -> Result<Vec<StoredFault>> {
        self.read("faults", || {
            async move |tx: &mut Tx| faults::of_tenant(tx, account, tenant).await
        })
        .await
    }

    /// The row of an account, fresh if there is none. `*` is the row of everything.
    pub async fn account(&self, name: &AccountName) -> Result<Account> {
        self.read("account", || async move |tx: &mut Tx| accounts::load(tx, name).await).await
    }

    /// Every stored account, `*` among them if it was ever paused.
    pub async fn accounts(&self) -> Result<Vec<Account>> {
        self.read("accounts", || async move |tx: &mut Tx| accounts::load_all(tx).await).await
    }

    /// Every deny entry, by account, kind and subject.
    pub async fn protections(&self) -> Result<Vec<Protection>> {
        self.read("protections", || async move |tx: &mut Tx| protections::load_all(tx).await).await
    }

    /// The acknowledgements in force, by row. One ends when its row changes its state or its hold.
    pub async fn acks(&self) -> Result<Vec<Ack>> {
        self.read("acks", || async move |tx: &mut Tx| acks::load_all(tx).await).await
    }

    /// What the latest complete customer list of an account taught, if one was ever read.
    pub async fn customers(&self, account: &AccountName) -> Result<Option<KnownCustomers>> {
        self.snapshot("customers", || async move |tx: &mut Tx| customers::known(tx, account).await)
            .await
    }

    /// The entries of a range in time order.
    pub async fn audit(&self, range: &AuditRange) -> Result<Vec<AuditEntry>> {
        self.snapshot("audit", || async move |tx: &mut Tx| audit::entries(tx, range).await).await
    }

    /// When the oldest entry of the audit was made.
    pub async fn audit_begins(&self) -> Result<Option<Timestamp>> {
        self.read("audit_begins", || async move |tx: &mut Tx| audit::begins(tx).await).await
    }

    /// How things stand, by sets: what the gauges are read from.
    pub async fn survey(&self, request: &SurveyRequest, now: Timestamp) -> Result<Survey> {
        let survey =
            || async move |tx: &mut Tx| survey::survey(tx, request, &self.ended, millis(now)).await;
        self.snapshot("survey", survey).await
    }

    /// The replicas that work on the database or have done so lately, by name.
    pub async fn replicas(&self) -> Result<Vec<Replica>> {
        self.read("replicas", || async move |tx: &mut Tx| replicas::load_all(tx).await).await
    }

    /// A number that changes with each step that stores something, in whichever process. `None` for a
    /// store that cannot tell. Asking fails where nothing can be stored, and where a daemon on a server has
    /// lost its lock to another one.
    pub async fn version(&self) -> Result<Option<i64>> {
        let asked = async {
            match &self.engine {
                Engine::File(file) => file.beside(async |tx| version::load(tx).await).await,
                Engine::Server(server) => {
                    server.keep_lock().await?;
                    server.version(&self.readers).await.map(Some)
                }
            }
        };
        self.door.pass("version", asked).await.map_err(|error| self.engine.named_in(error))
    }
}
