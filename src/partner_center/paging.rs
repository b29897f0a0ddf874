//! Lists read to their end (invariant 6).

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::calls::{Call, next_address};
use super::client::{Answered, Client};
use super::decode::{self, Damaged, NextLink, Page};
use super::error::ApiError;
use super::reads::json_of_200;
use crate::core::budget::Bucket;

/// More pages than any list of a sandbox can have.
const MOST_PAGES: usize = 200;
/// More items than any list of a sandbox can have.
const MOST_ITEMS: usize = 5_000;
/// In bytes, of all pages together.
const LARGEST_LIST: usize = 32 * 1024 * 1024;

/// A list, complete.
#[derive(Debug)]
pub(super) struct Listing {
    /// When the request for its first page was sent.
    pub(super) at: Timestamp,
    /// How long its pages were on their way.
    pub(super) took: Duration,
    /// Every item of every page.
    pub(super) items: Vec<Value>,
    /// How many pages it came in.
    pub(super) pages: usize,
    /// Its last page.
    pub(super) last: Answered,
}

impl Client {
    /// Reads a list to its end. A page that comes twice means that the list cannot be told whole.
    pub(super) async fn list(
        &self,
        call: Call,
        bucket: Bucket,
        url: Url,
    ) -> Result<Listing, ApiError> {
        let mut guard = RepeatGuard::default();
        let (mut first_at, mut all, mut pages) = (None, Vec::new(), 0);
        let asked = url.clone();
        let (mut url, mut continuation): (Url, Option<String>) = (url, None);
        let (mut bytes, mut took) = (0, Duration::ZERO);
        loop {
            guard
                .admit_link(&url, continuation.as_deref())
                .map_err(|what| ApiError::damaged(call, what))?;
            let last = self.get(call, bucket, &url, continuation.as_deref()).await?;
            bytes += last.response.body.len();
            if bytes > LARGEST_LIST {
                let what = format!("the list is larger than {LARGEST_LIST} bytes");
                return Err(last.damaged(Damaged(what)));
            }
            let value = json_of_200(&last)?;
            let Page { items, next } = decode::page(value).map_err(|d| last.damaged(d))?;
            guard.admit_items(&items).map_err(|d| last.damaged(d))?;
            let at = *first_at.get_or_insert(last.at);
            took += last.took;
            all.extend(items);
            pages += 1;
            if all.len() > MOST_ITEMS {
                let what = format!("the list has more than {MOST_ITEMS} items");
                return Err(last.damaged(Damaged(what)));
            }
            let Some(NextLink { uri, continuation: token }) = next else {
                return Ok(Listing { at, took, items: all, pages, last });
            };
            if pages == MOST_PAGES {
                let what = format!("the list has more than {MOST_PAGES} pages");
                return Err(last.damaged(Damaged(what)));
            }
            url = next_address(&self.base, &asked, &uri).map_err(|d| last.damaged(d))?;
            continuation = token;
        }
    }
}

/// Notices a page that comes twice, by how it was asked for or by what is on it.
#[derive(Debug, Default)]
struct RepeatGuard {
    links: HashSet<String>,
    pages: HashSet<Vec<String>>,
}

impl RepeatGuard {
    /// A link is its continuation token, where it has one: the address may then stay the same from
    /// page to page.
    fn admit_link(&mut self, url: &Url, continuation: Option<&str>) -> Result<(), Damaged> {
        let link = match continuation {
            Some(token) => format!("token {token}"),
            None => format!("address {url}"),
        };
        let new = self.links.insert(link);
        if new { Ok(()) } else { Err(Damaged::new("the list leads back to a page already read")) }
    }

    fn admit_items(&mut self, items: &[Value]) -> Result<(), Damaged> {
        if items.is_empty() {
            return Ok(());
        }
        let new = self.pages.insert(items.iter().map(decode::identity).collect());
        if new { Ok(()) } else { Err(Damaged::new("the list holds the same page twice")) }
    }
}
