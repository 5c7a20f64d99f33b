//! Whole lists of Graph: every page, or an honest "not complete".
//!
//! A list is evidence of what is absent, so it counts only when it is whole: an error, a page that repeats, a next
//! link that leads elsewhere or a count that does not fit end it as [`ListOutcome::Incomplete`].

use super::{
    batch::MAX_BATCH,
    client::{Call, GraphClient},
    request::{Answer, Method, NotSent, Outcome, Request, Unknown},
};
use serde_json::Value;
use std::{collections::HashSet, future::Future, pin::Pin, time::Duration};
use url::Url;

/// The most pages that are followed: 9,000 tasks, Planner's limit for a plan, in pages of 20.
pub const MAX_PAGES: usize = 500;

/// Waits until one more page may be asked for; `false` = not now.
pub type Turn<'a> = &'a (dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> + Send + Sync + 'a);

/// Every page at once.
fn unpaced() -> Pin<Box<dyn Future<Output = bool> + Send>> {
    Box::pin(std::future::ready(true))
}

/// What came of reading a list.
#[derive(Debug, Clone, PartialEq)]
pub enum ListOutcome {
    /// Every item, in the order of the pages.
    Complete(Vec<Value>),
    /// The first page was refused: 4xx. Planner answers 403 as well as 404 for a plan that is gone or closed.
    Failed {
        /// HTTP status.
        status: u16,
        /// Graph's own code, if it is not empty.
        code: Option<String>,
        /// The wait that `Retry-After` asks for.
        retry_after: Option<Duration>,
    },
    /// Nothing can be concluded from what came.
    Incomplete(Incomplete),
}

/// Why a list is not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// No answer, or a doubtful one.
    #[error("{0}")]
    Lost(#[from] Unknown),
    /// Not asked.
    #[error("{0}")]
    NotSent(#[from] NotSent),
    /// A later page was refused.
    #[error("page {page} was refused with {status}")]
    PageRefused {
        /// The page, from 2.
        page: usize,
        /// HTTP status.
        status: u16,
        /// The wait that `Retry-After` asks for.
        retry_after: Option<Duration>,
    },
    /// A success that holds an error object.
    #[error("page {0} holds an error")]
    ErrorInPage(usize),
    /// A page without a list in `value`.
    #[error("page {0} holds no list")]
    NoList(usize),
    /// The next link leads to another scheme, host or port, or cannot be read.
    #[error("the next link of page {0} leads elsewhere and was not followed")]
    ForeignLink(usize),
    /// A next link that was followed before.
    #[error("the next link of page {0} repeats an earlier one")]
    RepeatedLink(usize),
    /// An item that an earlier page, or this one, already held.
    #[error("page {0} repeats an item")]
    RepeatedItem(usize),
    /// `@odata.count` does not fit the items.
    #[error("the count is {counted}, the items are {held}")]
    CountMismatch {
        /// What Graph counted.
        counted: u64,
        /// What came.
        held: u64,
    },
    /// Whoever paces the requests said that there is no turn for another page now.
    #[error("there was no turn for the page after page {0}")]
    NoTurn(usize),
    /// More than [`MAX_PAGES`] pages.
    #[error("the list has more than {MAX_PAGES} pages")]
    TooLong,
}

impl ListOutcome {
    /// The wait that the other side asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed { retry_after, .. }
            | Self::Incomplete(Incomplete::PageRefused { retry_after, .. }) => *retry_after,
            Self::Incomplete(Incomplete::Lost(reason)) => Outcome::Unknown(reason.clone()).retry_after(),
            Self::Incomplete(Incomplete::NotSent(reason)) => Outcome::NotSent(reason.clone()).retry_after(),
            Self::Complete(_) | Self::Incomplete(_) => None,
        }
    }
}

impl GraphClient {
    /// Reads the list at `path` to its end.
    pub async fn list(&self, path: &str) -> ListOutcome {
        let first = self.send(Request::get(path)).await;
        self.rest(path, first, &unpaced).await
    }

    /// Reads several lists to their ends; the first pages travel together in batches, each further page waits for its
    /// `turn`. Outcomes are in the order of `paths`.
    pub async fn lists(&self, paths: &[String], turn: Turn<'_>) -> Vec<ListOutcome> {
        let mut lists = Vec::with_capacity(paths.len());
        for chunk in paths.chunks(MAX_BATCH) {
            let firsts = self.batch(chunk.iter().map(Request::get).collect()).await;
            for (path, first) in chunk.iter().zip(firsts) {
                lists.push(self.rest(path, first, turn).await);
            }
        }
        lists
    }

    /// Follows the pages after `first`.
    async fn rest(&self, path: &str, first: Outcome, turn: Turn<'_>) -> ListOutcome {
        let mut pages = match self.inner.url(path) {
            Ok(url) => Pages::new(url),
            Err(reason) => return ListOutcome::Incomplete(reason.into()),
        };
        let mut outcome = first;
        loop {
            let next = match pages.take(outcome) {
                Err(ended) => return ended,
                Ok(None) => return pages.finish(),
                Ok(Some(next)) => next,
            };
            let Some(url) = Url::parse(&next).ok().filter(|url| self.inner.is_own(url)) else {
                return ListOutcome::Incomplete(Incomplete::ForeignLink(pages.count));
            };
            if !pages.followed.insert(url.clone()) {
                return ListOutcome::Incomplete(Incomplete::RepeatedLink(pages.count));
            }
            if pages.count >= MAX_PAGES {
                return ListOutcome::Incomplete(Incomplete::TooLong);
            }
            if !turn().await {
                return ListOutcome::Incomplete(Incomplete::NoTurn(pages.count));
            }
            let call = || Call {
                not_after: None,
                method: Method::Get,
                url: url.clone(),
                if_match: None,
                prefer: None,
                body: None,
                sub_requests: 1,
            };
            outcome = self.inner.read(call).await.into();
        }
    }
}

/// The pages read so far.
struct Pages {
    count: usize,
    items: Vec<Value>,
    ids: HashSet<String>,
    followed: HashSet<Url>,
    /// `@odata.count` of each page that has one, beside the number of its items.
    counts: Vec<(u64, u64)>,
}

impl Pages {
    fn new(first: Url) -> Self {
        Self {
            count: 0,
            items: Vec::new(),
            ids: HashSet::new(),
            followed: HashSet::from([first]),
            counts: Vec::new(),
        }
    }

    /// Takes one page in and answers its next link.
    fn take(&mut self, outcome: Outcome) -> Result<Option<String>, ListOutcome> {
        self.count += 1;
        let page = self.count;
        let incomplete = |reason| Err(ListOutcome::Incomplete(reason));
        let answer = match outcome {
            Outcome::Answer(answer) => answer,
            Outcome::Unknown(reason) => return incomplete(reason.into()),
            Outcome::NotSent(reason) => return incomplete(reason.into()),
        };
        if !answer.is_success() {
            return Err(refused(page, &answer));
        }
        let Some(Value::Object(mut body)) = answer.body else { return incomplete(Incomplete::NoList(page)) };
        if body.contains_key("error") {
            return incomplete(Incomplete::ErrorInPage(page));
        }
        let Some(Value::Array(items)) = body.remove("value") else {
            return incomplete(Incomplete::NoList(page));
        };
        if let Some(count) = body.get("@odata.count").and_then(Value::as_u64) {
            self.counts.push((count, items.len() as u64));
        }
        for item in &items {
            let id = item.get("id").and_then(Value::as_str);
            if id.is_some_and(|id| !self.ids.insert(id.to_owned())) {
                return incomplete(Incomplete::RepeatedItem(page));
            }
        }
        self.items.extend(items);
        match body.remove("@odata.nextLink") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(next)) => Ok(Some(next)),
            Some(_) => incomplete(Incomplete::ForeignLink(page)),
        }
    }

    /// A page's count is its own items (as seen of Planner) or all items (as OData has it).
    fn finish(self) -> ListOutcome {
        let total = self.items.len() as u64;
        let own = self.counts.iter().all(|(counted, held)| counted == held);
        match self.counts.iter().find(|(counted, _)| *counted != total) {
            Some((counted, _)) if !own => {
                ListOutcome::Incomplete(Incomplete::CountMismatch { counted: *counted, held: total })
            }
            _ => ListOutcome::Complete(self.items),
        }
    }
}

fn refused(page: usize, answer: &Answer) -> ListOutcome {
    let (status, retry_after) = (answer.status, answer.retry_after);
    if page == 1 {
        ListOutcome::Failed { status, code: answer.error_code().map(str::to_owned), retry_after }
    } else {
        ListOutcome::Incomplete(Incomplete::PageRefused { page, status, retry_after })
    }
}
