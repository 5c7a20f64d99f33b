//! The directory's requests.
//!
//! Source: Microsoft's pages of the Users API in Graph v1.0. Comparisons with `eq` do not mind letter case.

use super::Request;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// What is asked of a user: enough to know whom a name means.
const MEMBERS: &str = "id,displayName,mail,userPrincipalName";

/// The users that have this principal name, mail address or display name; two are enough to know that it is not one.
pub fn find_users(name: &str) -> Request {
    let text = name.replace('\'', "''");
    let filter = if name.contains('@') {
        format!("userPrincipalName eq '{text}' or mail eq '{text}'")
    } else {
        format!("displayName eq '{text}'")
    };
    let filter = utf8_percent_encode(&filter, NON_ALPHANUMERIC);
    Request::get(format!("/users?$select={MEMBERS}&$top=2&$filter={filter}"))
}

/// A user by object id or user principal name.
pub fn get_user(user: &str) -> Request {
    Request::get(format!("/users/{}?$select={MEMBERS}", utf8_percent_encode(user, NON_ALPHANUMERIC)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        let request = find_users("O'Neil & Söhne");
        let filter = "displayName%20eq%20%27O%27%27Neil%20%26%20S%C3%B6hne%27";
        assert_eq!(request.path, format!("/users?$select={MEMBERS}&$top=2&$filter={filter}"));
        let guest = find_users("a_b.com#EXT#@c.com").path;
        assert!(
            guest.contains("userPrincipalName%20eq%20%27a%5Fb%2Ecom%23EXT%23%40c%2Ecom%27%20or%20mail"),
            "{guest}"
        );
    }
}
