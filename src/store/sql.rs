//! Statements for whichever engine the store runs on: one text with `$1`, `$2`, …, and values that know what
//! they are. Where the engines differ in what they understand, a statement has a text for each.

use jiff::Timestamp;
use sqlx::postgres::{PgArgumentBuffer, PgRow, PgTypeInfo};
use sqlx::sqlite::SqliteRow;
use sqlx::{
    AssertSqlSafe, Connection as _, Decode, Encode, PgConnection, Postgres, Row as _, Sqlite,
    SqliteConnection, Type,
};

use super::model::time::time_text;
use super::{Result, StoreError};

/// A connection in a transaction, as steps hand it to the tables.
#[derive(Debug)]
pub(crate) enum Tx {
    /// SQLite.
    Sqlite(SqliteConnection),
    /// PostgreSQL.
    Postgres(PgConnection),
}

impl Tx {
    /// Closes it in good order.
    pub(in crate::store) async fn close(self) -> Result<()> {
        match self {
            Self::Sqlite(conn) => conn.close().await?,
            Self::Postgres(conn) => conn.close().await?,
        }
        Ok(())
    }

    /// Runs a step without a transaction. Says with it whether the connection can be used again.
    pub(in crate::store) async fn run<T>(
        &mut self,
        step: impl AsyncFnOnce(&mut Self) -> Result<T>,
    ) -> (Result<T>, bool) {
        let done = Box::pin(step(self)).await;
        let is_clean = done.is_ok() || matches!(self, Self::Sqlite(_));
        (done, is_clean)
    }

    /// Runs a step in a transaction that begins with this statement.
    pub(in crate::store) async fn transact<T>(
        &mut self,
        begin: &'static str,
        step: impl AsyncFnOnce(&mut Self) -> Result<T>,
    ) -> Ended<T> {
        if let Err(error) = query(begin).execute(self).await {
            // SQLite waits for others here, and a server that has gone is noticed here.
            let is_clean = matches!(self, Self::Sqlite(_));
            return Ended { how: How::NotBegun(error), is_clean };
        }
        // The futures of steps are large, and the layers above would each hold room for them.
        let (how, is_clean) = match Box::pin(step(self)).await {
            Ok(done) => match query("COMMIT").execute(self).await {
                Ok(_) => (How::Done(done), true),
                Err(error) => {
                    let is_clean = query("ROLLBACK").execute(self).await.is_ok();
                    (How::NotCommitted(done, error), is_clean)
                }
            },
            // The step's own error tells more than the rollback's.
            Err(error) => {
                let rollback = query("ROLLBACK").execute(self).await;
                if let Err(error) = &rollback {
                    tracing::debug!(%error, "a transaction could not be rolled back");
                }
                (How::Failed(error), rollback.is_ok())
            }
        };
        Ended { how, is_clean }
    }

    /// Tries a part of a step: what fails changes nothing, and the step goes on.
    pub(in crate::store) async fn attempt<T>(
        &mut self,
        part: impl AsyncFnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        query("SAVEPOINT attempt").execute(self).await?;
        let done = part(self).await;
        if done.is_err() {
            query("ROLLBACK TO SAVEPOINT attempt").execute(self).await?;
        }
        query("RELEASE SAVEPOINT attempt").execute(self).await?;
        done
    }
}

/// A transaction that has ended.
#[derive(Debug)]
pub(in crate::store) struct Ended<T> {
    /// How.
    pub(in crate::store) how: How<T>,
    /// Whether the connection can be used again.
    pub(in crate::store) is_clean: bool,
}

/// How a transaction ended.
#[derive(Debug)]
pub(in crate::store) enum How<T> {
    /// It is committed.
    Done(T),
    /// The step was done, and its COMMIT failed or got no answer. After a failure nothing has changed.
    NotCommitted(T, StoreError),
    /// The step failed, and was rolled back.
    Failed(StoreError),
    /// Nothing of the step was asked for.
    NotBegun(StoreError),
}

impl<T> Ended<T> {
    /// The same where every error means that nothing has changed, as it does with SQLite.
    pub(in crate::store) fn plainly(self) -> (Result<T>, bool) {
        let done = match self.how {
            How::Done(done) => Ok(done),
            How::NotCommitted(_, error) | How::Failed(error) | How::NotBegun(error) => Err(error),
        };
        (done, self.is_clean)
    }
}

/// A statement as each engine understands it.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Sql {
    pub(in crate::store) sqlite: &'static str,
    pub(in crate::store) postgres: &'static str,
}

impl From<&'static str> for Sql {
    /// Both engines understand this.
    fn from(both: &'static str) -> Self {
        Self { sqlite: both, postgres: both }
    }
}

/// A value of a statement, or of a column. A missing one knows of what type it would be.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) enum Value {
    Int(Option<i64>),
    Bool(Option<bool>),
    Text(Option<String>),
    Time(Option<Timestamp>),
    /// JSON: text in SQLite, `jsonb` in PostgreSQL.
    Json(String),
}

macro_rules! values {
    ($($from:ty => $kind:ident: $convert:expr;)*) => {
        $(
            impl From<$from> for Value {
                fn from(value: $from) -> Self {
                    let convert: fn($from) -> _ = $convert;
                    Self::$kind(Some(convert(value)))
                }
            }

            impl From<Option<$from>> for Value {
                fn from(value: Option<$from>) -> Self {
                    let convert: fn($from) -> _ = $convert;
                    Self::$kind(value.map(convert))
                }
            }
        )*
    };
}

values! {
    i64 => Int: |number| number;
    i32 => Int: i64::from;
    u32 => Int: i64::from;
    u16 => Int: i64::from;
    bool => Bool: |truth| truth;
    &str => Text: str::to_owned;
    &String => Text: String::clone;
    String => Text: |text| text;
    Timestamp => Time: |time| time;
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.clone())
    }
}

impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        Self::Json(value.to_string())
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(value.to_string())
    }
}

/// A statement with its values.
#[derive(Debug)]
pub(in crate::store) struct Query {
    sqlite: Text,
    postgres: Text,
    values: Vec<Value>,
}

#[derive(Debug)]
enum Text {
    Fixed(&'static str),
    Made(String),
}

/// A statement.
pub(in crate::store) fn query(sql: impl Into<Sql>) -> Query {
    let sql = sql.into();
    Query {
        sqlite: Text::Fixed(sql.sqlite),
        postgres: Text::Fixed(sql.postgres),
        values: Vec::new(),
    }
}

/// A type that columns of either engine have.
pub(in crate::store) trait Stored<'r>:
    Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

impl<'r, T> Stored<'r> for T where
    T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

/// A row of either engine.
#[derive(Debug)]
pub(in crate::store) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Query {
    /// A statement that was put together from fixed parts, for an engine each.
    pub(in crate::store) fn made(sqlite: String, postgres: String, values: Vec<Value>) -> Self {
        Self { sqlite: Text::Made(sqlite), postgres: Text::Made(postgres), values }
    }

    /// Gives the next value.
    pub(in crate::store) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs it, and returns how many rows it concerned.
    pub(in crate::store) async fn execute(self, tx: &mut Tx) -> Result<u64> {
        Ok(match tx {
            Tx::Sqlite(conn) => self.for_sqlite().execute(conn).await?.rows_affected(),
            Tx::Postgres(conn) => {
                Box::pin(self.for_postgres().execute(conn)).await?.rows_affected()
            }
        })
    }

    /// Runs it, and returns every row.
    pub(in crate::store) async fn fetch_all(self, tx: &mut Tx) -> Result<Vec<Row>> {
        Ok(match tx {
            Tx::Sqlite(conn) => {
                let rows = self.for_sqlite().fetch_all(conn).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Tx::Postgres(conn) => {
                let rows = Box::pin(self.for_postgres().fetch_all(conn)).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Runs it, and returns its first row.
    pub(in crate::store) async fn fetch_optional(self, tx: &mut Tx) -> Result<Option<Row>> {
        Ok(match tx {
            Tx::Sqlite(conn) => self.for_sqlite().fetch_optional(conn).await?.map(Row::Sqlite),
            Tx::Postgres(conn) => {
                Box::pin(self.for_postgres().fetch_optional(conn)).await?.map(Row::Postgres)
            }
        })
    }

    /// Runs it, and returns the row that it always has.
    pub(in crate::store) async fn fetch_one(self, tx: &mut Tx) -> Result<Row> {
        self.fetch_optional(tx).await?.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    fn for_sqlite(self) -> sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments> {
        let query = match self.sqlite {
            Text::Fixed(sql) => sqlx::query(sql),
            Text::Made(sql) => sqlx::query(AssertSqlSafe(sql)),
        };
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Int(number) => query.bind(number),
            Value::Bool(truth) => query.bind(truth),
            Value::Text(text) => query.bind(text),
            Value::Time(time) => query.bind(time.map(time_text)),
            Value::Json(json) => query.bind(json),
        })
    }

    fn for_postgres(self) -> sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments> {
        let query = match self.postgres {
            Text::Fixed(sql) => sqlx::query(sql),
            Text::Made(sql) => sqlx::query(AssertSqlSafe(sql)),
        };
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Int(number) => query.bind(number),
            Value::Bool(truth) => query.bind(truth),
            Value::Text(text) => query.bind(text.map(without_nul)),
            Value::Time(time) => query.bind(time.map(PgTime)),
            Value::Json(json) => query.bind(json_without_nul(json)),
        })
    }
}

impl Row {
    /// A column, as it is stored.
    pub(in crate::store) fn try_get<'r, T: Stored<'r>>(
        &'r self,
        column: &str,
    ) -> Result<T, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    /// A time; the error tells what stands there instead.
    pub(in crate::store) fn time(&self, column: &str) -> Result<Option<Timestamp>, String> {
        match self {
            Self::Sqlite(row) => {
                let text: Option<&str> = row.try_get(column).map_err(|error| error.to_string())?;
                // Another width would sort wrongly as text.
                let read = |text: &str| {
                    let fits = text.len() == 24 && text.ends_with('Z');
                    fits.then(|| text.parse().ok()).flatten()
                };
                text.map(|text| read(text).ok_or_else(|| format!("{text:?}"))).transpose()
            }
            Self::Postgres(row) => {
                let time: Option<PgTime> =
                    row.try_get(column).map_err(|error| error.to_string())?;
                Ok(time.map(|PgTime(time)| time))
            }
        }
    }

    /// A truth: 0 or 1 in SQLite.
    pub(in crate::store) fn flag(&self, column: &str) -> Result<Option<bool>, sqlx::Error> {
        match self {
            Self::Sqlite(row) => {
                Ok(row.try_get::<Option<i64>, _>(column)?.map(|number| number != 0))
            }
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// PostgreSQL keeps no U+0000 in text. An answer of the API that holds one is kept with a mark in its place.
fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// The same within JSON, where it is written as an escape. A backslash before that may be escaped itself.
fn json_without_nul(json: String) -> String {
    if !json.contains("\\u0000") {
        return json;
    }
    let mut kept = String::with_capacity(json.len());
    let mut rest = json.as_str();
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        kept.push_str(before);
        let is_nul = escape.starts_with("\\u0000");
        // Two characters are an escape, and the digits after them are plain.
        let length = if is_nul { 6 } else { 2.min(escape.len()) };
        kept.push_str(if is_nul { "\\ufffd" } else { &escape[..length] });
        rest = &escape[length..];
    }
    kept.push_str(rest);
    kept
}

/// A `timestamptz`: microseconds since 2000.
struct PgTime(Timestamp);

/// 2000-01-01T00:00:00Z.
const PG_EPOCH: i64 = 946_684_800_000_000;

impl Type<Postgres> for PgTime {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("timestamptz")
    }
}

impl Encode<'_, Postgres> for PgTime {
    fn encode_by_ref(
        &self,
        buffer: &mut PgArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        Encode::<Postgres>::encode_by_ref(&(self.0.as_microsecond() - PG_EPOCH), buffer)
    }
}

impl<'r> Decode<'r, Postgres> for PgTime {
    fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        Ok(Self(Timestamp::from_microsecond(micros + PG_EPOCH)?))
    }
}
