//! Looks of the scheduler: cheap while nothing happens, and not given up for a store that takes less than
//! all.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};

use crate::harness::*;

async fn typed(scene: &Scene, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(scene.store.file().unwrap());
    let mut conn: SqliteConnection = options.connect().await.unwrap();
    sqlx::raw_sql(statement).execute(&mut conn).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_hour_leaves_the_store_alone() {
    let scene = given([]).running().await;
    scene.settle().await;
    let before = scene.steps();
    scene.pass(hours(1)).await;
    // 2,000 looks take one step each, and those after the 360 ticks take five more. Each is two here.
    let taken = scene.steps() - before;
    assert!(taken < 10_000, "{taken} steps");
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_tick_that_is_refused_keeps_nobody_from_being_worked_on() {
    let mut scene = given([buy(Kind::NewCommerce)]).set();
    let refused = "CREATE TRIGGER odd BEFORE INSERT ON daemon
        BEGIN SELECT RAISE(ABORT, 'no'); END";
    scene.start().await;
    scene.pass(secs(15)).await;
    typed(&scene, refused).await;
    scene.pass(mins(1)).await;
    scene.enqueue(&[1]).await;
    scene.settle().await;
    scene.assert_all_deleted().await;
}
