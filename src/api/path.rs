//! Paths as the Functions host sees them: letter case of literal parts and one slash at the end do not matter.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::Uri,
    middleware::Next,
    response::Response,
};

/// The patterns of the table of routes, split into segments.
#[derive(Debug)]
pub(super) struct Patterns(Vec<Vec<String>>);

impl Patterns {
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a String>) -> Self {
        Self(patterns.map(|pattern| pattern.split('/').map(str::to_owned).collect()).collect())
    }

    /// The path that the router knows, or `None` if `path` is that already or follows no pattern.
    fn canonical(&self, path: &str) -> Option<String> {
        let trimmed = match path.strip_suffix('/') {
            Some(trimmed) if !trimmed.is_empty() => trimmed,
            _ => path,
        };
        // Every request passes here, and nearly every path is right already: nothing is allocated until one is not.
        let segments = || trimmed.split('/');
        let count = segments().count();
        let may_be = |given: &str, known: &str| {
            if known.starts_with('{') { !given.is_empty() } else { known.eq_ignore_ascii_case(given) }
        };
        let fits = |pattern: &&Vec<String>| {
            count == pattern.len()
                && segments().zip(pattern.iter()).all(|(given, known)| may_be(given, known))
        };
        let pattern = self.0.iter().find(fits)?;
        let parts = || {
            let parts = pattern.iter().zip(segments());
            parts.map(|(known, given)| if known.starts_with('{') { given } else { known.as_str() })
        };
        if trimmed.len() == path.len() && parts().eq(segments()) {
            return None;
        }
        Some(parts().collect::<Vec<_>>().join("/"))
    }
}

pub(super) async fn make_canonical(
    State(patterns): State<Arc<Patterns>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(path) = patterns.canonical(request.uri().path()) {
        let with_query = match request.uri().query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = with_query.parse().ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_lose_their_case_and_ids_keep_theirs() {
        let patterns = ["/api/tasks", "/api/tasks/{id}", "/api/openapi.json"].map(str::to_owned);
        let patterns = Patterns::new(patterns.iter());
        let canonical = |path: &str| patterns.canonical(path);
        assert_eq!(canonical("/API/Tasks/").as_deref(), Some("/api/tasks"));
        assert_eq!(canonical("/Api/TASKS/Task-AB/").as_deref(), Some("/api/tasks/Task-AB"));
        assert_eq!(canonical("/api/tasks/Task-AB"), None, "nothing to change");
        assert_eq!(canonical("/api/tasks//"), None, "an empty id is no id");
        assert_eq!(canonical("/api/tasks/a/b"), None);
        assert_eq!(canonical("/"), None);
        assert_eq!(canonical("/api/%74asks"), None, "what the host would decode is not guessed here");
    }
}
