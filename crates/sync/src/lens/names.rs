//! What the names in documents stand for: the categories of a plan, and the users of the directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

/// Planner has the categories `category1` to `category25` in every plan.
const CATEGORIES: u8 = 25;

/// The names that people gave to a plan's categories, by key (`category7`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Categories(BTreeMap<String, String>);

/// The key of a category, if the text is one in any letter case.
fn key_of(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let number = text.strip_prefix("category")?;
    let fits = !number.starts_with(['0', '+']) && matches!(number.parse::<u8>(), Ok(1..=CATEGORIES));
    fits.then_some(text)
}

/// Whether a text is the key of a category, as Planner writes it.
pub(crate) fn is_category(key: &str) -> bool {
    key_of(key).as_deref() == Some(key)
}

/// A name as it is compared: without blanks around it, in lower case.
pub fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

impl Categories {
    /// The names in a plan's details (Graph, `plannerPlanDetails.categoryDescriptions`).
    pub fn of_plan_details(details: &Json) -> Self {
        let names = details.get("categoryDescriptions").and_then(Json::as_object).into_iter().flatten();
        let named = names.filter_map(|(key, name)| {
            let name = name.as_str().map(str::trim).filter(|name| !name.is_empty())?;
            Some((key_of(key)?, name.to_owned()))
        });
        Self(named.collect())
    }

    /// Names by key, for a cache.
    pub fn names(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// From names by key.
    pub fn from_names(names: BTreeMap<String, String>) -> Self {
        Self(names)
    }

    /// The category that a label stands for: a key stands for itself, a name for the first category of that name.
    pub fn category(&self, label: &str) -> Option<String> {
        let label = label.trim();
        let number = |key: &str| key.strip_prefix("category").and_then(|number| number.parse::<u8>().ok());
        key_of(label).or_else(|| {
            let label = folded(label);
            let named = self.0.iter().filter(|(_, name)| folded(name) == label).map(|(key, _)| key);
            named.min_by_key(|key| number(key)).cloned()
        })
    }

    /// How documents call a category: by its name, or by its key where the name does not lead back to it.
    pub fn label(&self, category: &str) -> String {
        match self.0.get(category) {
            Some(name) if self.category(name).as_deref() == Some(category) => name.clone(),
            _ => category.to_owned(),
        }
    }
}

/// What the names in one document stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The categories of the document's plan. `None`: not known, and nothing is said about labels.
    pub categories: Option<Arc<Categories>>,
    /// Labels by which this document called categories before, folded; a person may have renamed them since.
    pub former: BTreeMap<String, String>,
    /// Object ids of users, by their folded names.
    pub users: BTreeMap<String, String>,
}
