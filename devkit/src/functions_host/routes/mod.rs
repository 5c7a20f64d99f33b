//! Which function a request reaches: the host's order, its templates and its reading of a request target.

mod constraints;
mod target;
mod template;

pub use target::{Refused, Target, proxied_path, proxied_query, read_target};
pub use template::{RouteValues, Template};

use super::app::LoadedFunction;

/// One entry of the route table, in the order in which the host tries them.
#[derive(Clone, Debug)]
pub struct Route {
    /// The function's name.
    pub function: String,
    /// Methods it takes; empty means all.
    pub methods: Vec<String>,
    /// The whole template, prefix included.
    pub template: Template,
}

/// All routes of an app.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
}

/// The key by which the host orders functions: their names as upper-case ASCII.
pub fn order_key(name: &str) -> String {
    name.to_ascii_uppercase()
}

impl RouteTable {
    /// Sorts the routes as the host does.
    pub fn new(mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| order_key(&route.function));
        Self { routes }
    }

    /// The table of the HTTP functions among `functions`.
    pub fn of(functions: &[LoadedFunction]) -> Self {
        let routes = functions.iter().filter_map(|function| {
            let http = function.http()?;
            let template = http.template.clone();
            Some(Route { function: function.name.clone(), methods: http.methods.clone(), template })
        });
        Self::new(routes.collect())
    }

    /// The first function, in host order, whose template, constraints and methods all fit.
    pub fn pick(&self, method: &str, path: &str) -> Option<(&str, RouteValues)> {
        self.routes.iter().find_map(|route| {
            let takes_method = route.methods.is_empty()
                || route.methods.iter().any(|known| known.eq_ignore_ascii_case(method));
            if !takes_method {
                return None;
            }
            Some((route.function.as_str(), route.template.matches(path)?))
        })
    }
}

/// The route of one function: `prefix` and `route`, or the name where there is no route.
///
/// # Errors
/// The host's own message for a template that it refuses.
pub fn full_template(function: &str, prefix: &str, route: Option<&str>) -> Result<Template, String> {
    let route = route.filter(|route| !route.trim().is_empty()).unwrap_or(function);
    let prefix = prefix.trim_matches('/');
    let whole = if prefix.is_empty() { route.to_owned() } else { format!("{prefix}/{route}") };
    Template::parse(&whole).map_err(|why| {
        format!(
            "An error occurred while creating the route with name '{function}' and template '{whole}'. {why}"
        )
    })
}

/// Which of `functions` the host would run for a request line's method and target, with its route values.
/// `None` stands for every answer that reaches no function (404, and the web server's own 400 and 405).
pub fn pick_function(
    functions: &[LoadedFunction],
    method: &str,
    target: &str,
) -> Option<(String, RouteValues)> {
    let target = read_target(method, target.as_bytes(), None, false).ok()?;
    let table = RouteTable::of(functions);
    let (name, values) = table.pick(method, &target.path)?;
    Some((name.to_owned(), values))
}
