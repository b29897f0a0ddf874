//! The conformance suite of the store trait, run against every backend. A new backend adds one line
//! at the end; the cases stay as they are.

#[path = "store_conformance/mod.rs"]
mod suite;

use std::sync::Arc;

use async_trait::async_trait;
use suite::{Backend, start};
use teardownd::store::Store;
use teardownd::store::memory::MemoryStore;
use teardownd::store::sqlite::{MigrateMode, SqliteSettings, SqliteStore};

/// The store in memory: "reopened", it is the same one.
#[derive(Debug)]
struct Memory(Arc<MemoryStore>);

impl Memory {
    fn new() -> Self {
        Self(Arc::new(MemoryStore::new()))
    }
}

#[async_trait]
impl Backend for Memory {
    async fn open(&self) -> Arc<dyn Store> {
        self.0.clone()
    }
}

/// A database file of its own.
#[derive(Debug)]
struct Sqlite(tempfile::TempDir);

impl Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn open(&self) -> Arc<dyn Store> {
        let settings = SqliteSettings {
            path: self.0.path().join("teardownd.db"),
            create: true,
            migrate: MigrateMode::Auto,
        };
        Arc::new(SqliteStore::open(&settings, start()).await.unwrap())
    }
}

conformance!(memory, crate::Memory::new());
conformance!(sqlite, crate::Sqlite::new());
