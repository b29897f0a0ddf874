//! The conformance suite of the store on an SQLite file. `store_postgres` runs it on a server.

#[path = "store_conformance/mod.rs"]
mod suite;

use std::sync::Arc;

use async_trait::async_trait;
use suite::{Backend, start};
use teardownd::store::Store;
use teardownd::store::{MigrateMode, SqliteSettings};

/// A database file of its own.
#[derive(Debug)]
struct Sqlite(tempfile::TempDir);

impl Sqlite {
    async fn new() -> Option<Self> {
        Some(Self(tempfile::tempdir().unwrap()))
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn open(&self) -> Arc<Store> {
        let settings = SqliteSettings {
            path: self.0.path().join("teardownd.db"),
            create: true,
            migrate: MigrateMode::Auto,
        };
        Arc::new(Store::open(&settings, start()).await.unwrap())
    }
}

conformance!(sqlite, crate::Sqlite::new());
