//! Every example of an answer can be read with the client's own decoders: those written for this
//! project in `tests/data/examples`, and those of the folder named by `TEARDOWND_EXAMPLES_DIR`.
//!
//! What a file is follows from its name (`orders-list-…`, `error-404-…`). What the daemon never
//! reads is only JSON to it. Each file is also read with a byte order mark, and with its names in
//! PascalCase and in upper case. What was decoded is compared with what a plain look-up in the JSON
//! finds, so that the test holds for any set of such files.

use std::path::{Path, PathBuf};
use std::{env, fs};

use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use teardownd::core::resource::set_status;
use teardownd::partner_center::decode;

type Check = Result<(), String>;

#[test]
fn documentation_examples() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/examples")];
    folders.extend(env::var_os("TEARDOWND_EXAMPLES_DIR").map(PathBuf::from));
    let mut failures = Vec::new();
    for folder in folders {
        let files = examples(&folder);
        assert!(!files.is_empty(), "no example in {}", folder.display());
        for path in files {
            let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Err(why) = check_every_spelling(&name, &bytes) {
                failures.push(format!("{}: {why}", path.display()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_file_that_cannot_be_handled_is_a_failure() {
    for (name, body) in [
        ("orders-list-1.json", r#"{"totalCount":1}"#),
        ("orders-list-1.json", r#"{"items":[{"status":"pending"}]}"#),
        ("customers-get-1.json", "{}"),
        ("token-v2-1.json", r#"{"expires_in":1}"#),
        ("token-error-1.json", "{}"),
        ("error-x-1.json", r#"{"code":1}"#),
        ("anything-1.json", "{"),
    ] {
        assert!(check_every_spelling(name, body.as_bytes()).is_err(), "{name} {body}");
    }
}

fn examples(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap_or_else(|e| panic!("{}: {e}", folder.display())).path())
        .filter(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")))
        .collect();
    files.sort();
    files
}

fn check_every_spelling(name: &str, bytes: &[u8]) -> Check {
    let value = decode::json(bytes).map_err(|e| e.to_string())?;
    let plain = decode::without_bom(bytes);
    let with_bom = [&b"\xef\xbb\xbf"[..], plain].concat();
    let respelled = |spell: fn(&str) -> String| rename(&value, spell).to_string().into_bytes();
    for (spelling, bytes) in [
        ("as it is", plain.to_vec()),
        ("with a byte order mark", with_bom),
        ("in PascalCase", respelled(pascal_case)),
        ("in upper case", respelled(|name| name.to_uppercase())),
    ] {
        check(name, &bytes).map_err(|why| format!("{spelling}: {why}"))?;
    }
    check_numbers(&String::from_utf8_lossy(plain), &value)
}

/// Reads one example as what its name says it is.
fn check(name: &str, bytes: &[u8]) -> Check {
    let value = decode::json(bytes).map_err(|e| e.to_string())?;
    if name.contains("-request-") {
        return Ok(());
    }
    let is = |prefix: &str| name.starts_with(prefix);
    if is("customers-list-") {
        check_list(&value, |item| customer(item, true))
    } else if is("customers-get-") || is("customers-post-") {
        customer(&value, true)
    } else if is("customers-patch-") {
        customer(&value, false)
    } else if is("orders-list-") {
        check_list(&value, order)
    } else if is("orders-get-") || is("orders-post-") || is("orders-patch-") {
        order(&value)
    } else if is("subscriptions-list-") {
        check_list(&value, subscription)
    } else if is("subscriptions-get-") || is("subscriptions-patch-") {
        subscription(&value)
    } else if is("entitlements-list-") {
        check_list(&value, entitlement)
    } else if is("azureentitlements-list-") {
        check_list(&value, azure_entitlement)
    } else if is("azureentitlements-get-") {
        azure_entitlement(&value)
    } else if is("profile-legalbusiness-") {
        legal_business(&value)
    } else if is("error-") {
        fault(name, bytes, &value)
    } else if is("token-error-") {
        token_refusal(bytes, &value)
    } else if is("token-v1-") || is("token-v2-") {
        token(bytes, &value)
    } else {
        Ok(())
    }
}

fn check_list(value: &Value, check_item: impl Fn(&Value) -> Check) -> Check {
    let page = decode::page(value.clone()).map_err(|e| e.to_string())?;
    let items = look_up(value, "items").and_then(Value::as_array).ok_or("no items")?;
    same("items", &page.items, items)?;
    page.items.iter().try_for_each(check_item)
}

fn customer(value: &Value, identified: bool) -> Check {
    let customer = if identified { decode::listed_customer } else { decode::customer };
    let customer = customer(value).map_err(|e| e.to_string())?;
    let profile = look_up(value, "companyProfile").unwrap_or(&Value::Null);
    same("id", &customer.id, &text(value, "id"))?;
    same("tenantId", &customer.tenant_id, &text(profile, "tenantId"))?;
    same("domain", &customer.domain, &text(profile, "domain"))?;
    same("companyName", &customer.company_name, &text(profile, "companyName"))?;
    same("relationshipToPartner", &customer.relationship, &text(value, "relationshipToPartner"))
}

fn order(value: &Value) -> Check {
    let order = decode::order(value).map_err(|e| e.to_string())?;
    same("id", &Some(order.id), &text(value, "id"))?;
    same("alternateId", &order.alternate_id, &text(value, "alternateId"))?;
    same("status", &order.status, &word(value, "status"))?;
    same("billingCycle", &order.billing_cycle, &word(value, "billingCycle"))?;
    same("etag", &order.etag, &etag(value))?;
    let lines = look_up(value, "lineItems").and_then(Value::as_array);
    let lines = lines.map(Vec::as_slice).unwrap_or_default();
    same("number of lines", &order.lines.len(), &lines.len())?;
    for (line, raw) in order.lines.iter().zip(lines) {
        same("offerId", &line.offer_id, &text(raw, "offerId"))?;
        same("subscriptionId", &line.subscription_id, &text(raw, "subscriptionId"))?;
        same("quantity", &line.quantity, &whole_number(raw, "quantity"))?;
    }
    read_modify_write(value, &order.raw)
}

fn subscription(value: &Value) -> Check {
    let read = decode::subscription(value).map_err(|e| e.to_string())?;
    let product = look_up(value, "productType").unwrap_or(&Value::Null);
    let flag = look_up(value, "isMicrosoftProduct").and_then(Value::as_bool);
    same("id", &Some(read.id), &text(value, "id"))?;
    same("offerId", &read.offer_id, &text(value, "offerId"))?;
    same("status", &read.status, &word(value, "status"))?;
    same("orderId", &read.order_id, &text(value, "orderId"))?;
    let product_type = word(product, "id").or_else(|| word(value, "productType"));
    same("productType", &read.product_type, &product_type)?;
    same("unitType", &read.unit_type, &word(value, "unitType"))?;
    same("billingType", &read.billing_type, &word(value, "billingType"))?;
    same("isMicrosoftProduct", &read.is_microsoft_product, &flag)?;
    let parent = text(value, "parentSubscriptionId");
    same("parentSubscriptionId", &read.parent_subscription_id, &parent)?;
    same("etag", &read.etag, &etag(value))?;
    read_modify_write(value, &read.raw)
}

fn entitlement(value: &Value) -> Check {
    fn flatten<'a>(value: &'a Value, all: &mut Vec<&'a Value>) {
        all.push(value);
        let included = look_up(value, "includedEntitlements").and_then(Value::as_array);
        included.into_iter().flatten().for_each(|value| flatten(value, all));
    }
    let read = decode::entitlement(value).map_err(|e| e.to_string())?;
    let mut all = Vec::new();
    flatten(value, &mut all);
    same("number of entitlements", &read.len(), &all.len())?;
    for (entitlement, raw) in read.iter().zip(all) {
        let order = look_up(raw, "referenceOrder").unwrap_or(&Value::Null);
        same("referenceOrder.id", &entitlement.order_id, &text(order, "id"))?;
        same("alternateId", &entitlement.alternate_order_id, &text(order, "alternateId"))?;
        same("entitlementType", &entitlement.entitlement_type, &word(raw, "entitlementType"))?;
        same("productId", &entitlement.product_id, &text(raw, "productId"))?;
    }
    Ok(())
}

fn azure_entitlement(value: &Value) -> Check {
    let read = decode::azure_entitlement(value).map_err(|e| e.to_string())?;
    same("id", &Some(read.id), &text(value, "id"))?;
    same("status", &read.status, &word(value, "status"))
}

fn legal_business(value: &Value) -> Check {
    let read = decode::legal_business(value).map_err(|e| e.to_string())?;
    same("companyName", &read.company_name, &text(value, "companyName"))?;
    same("vettingStatus", &read.vetting_status, &word(value, "vettingStatus"))
}

fn fault(name: &str, bytes: &[u8], value: &Value) -> Check {
    let status = name.split('-').nth(1).and_then(|status| status.parse().ok());
    let status: u16 = status.ok_or("the name has no status: expected error-NNN-…")?;
    let fault = decode::fault(status, bytes);
    same("status", &fault.status, &status)?;
    let code = text(value, "code").filter(|code| code != "0");
    same("structured", &fault.structured, &code.is_some())?;
    if code.is_some() {
        same("code", &fault.code, &code)?;
    }
    if fault.text.trim().is_empty() {
        return Err("the fault has no text".to_owned());
    }
    Ok(())
}

fn token(bytes: &[u8], value: &Value) -> Check {
    let answer = decode::token(bytes).map_err(|e| e.to_string())?;
    let token = answer.access_token.expose_secret().to_owned();
    same("access_token", &Some(token), &text(value, "access_token"))?;
    let life = answer.expires_in.and_then(|life| i64::try_from(life.as_secs()).ok());
    same("expires_in", &life, &whole_number(value, "expires_in"))
}

fn token_refusal(bytes: &[u8], value: &Value) -> Check {
    let refusal = decode::token_refusal(bytes).ok_or("not read as a refusal")?;
    same("error", &Some(refusal.error), &text(value, "error"))?;
    let codes = look_up(value, "error_codes").and_then(Value::as_array);
    same("error_codes", &refusal.codes.len(), &codes.map_or(0, Vec::len))?;
    if refusal.text.is_empty() { Err("the refusal has no text".to_owned()) } else { Ok(()) }
}

/// Changing the status changes nothing else: no field, no order of fields, no digit.
fn read_modify_write(value: &Value, raw: &Value) -> Check {
    same("raw", &raw.to_string(), &value.to_string())?;
    let changed = set_status(raw, "changed-by-test");
    let before = value.as_object().ok_or("not an object")?;
    let mut expected: Map<String, Value> = Map::new();
    let mut had_status = false;
    for (name, value) in before {
        let is_status = name.to_lowercase() == "status";
        had_status |= is_status;
        let value = if is_status { "changed-by-test".into() } else { value.clone() };
        expected.insert(name.clone(), value);
    }
    if !had_status {
        expected.insert("status".to_owned(), "changed-by-test".into());
    }
    same("after a change of status", &changed.to_string(), &Value::Object(expected).to_string())
}

/// The numbers of the text are those of the JSON that was read from it, digit by digit.
fn check_numbers(text: &str, value: &Value) -> Check {
    same("numbers", &numbers(&value.to_string()), &numbers(text))
}

/// The numbers outside strings, in order. How an exponent is written does not count.
fn numbers(json: &str) -> Vec<String> {
    let mut outside = String::new();
    let mut in_string = false;
    let mut chars = json.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_string => drop(chars.next()),
            '"' => in_string = !in_string,
            c if !in_string => outside.push(c),
            _ => {}
        }
    }
    let is_number = |part: &&str| part.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    outside
        .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')))
        .filter(is_number)
        .map(|number| number.to_lowercase().replace("e+", "e"))
        .collect()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, decoded: &T, expected: &T) -> Check {
    if decoded == expected {
        return Ok(());
    }
    Err(format!("{what} was read as {decoded:?} instead of {expected:?}"))
}

fn look_up<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let lower = name.to_lowercase();
    let mut fields = value.as_object()?.iter();
    fields.find(|(key, _)| key.to_lowercase() == lower).map(|(_, value)| value)
}

fn text(value: &Value, name: &str) -> Option<String> {
    let text = match look_up(value, name)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn word(value: &Value, name: &str) -> Option<String> {
    text(value, name).map(|text| text.to_lowercase())
}

fn whole_number(value: &Value, name: &str) -> Option<i64> {
    let number: f64 = text(value, name)?.parse().ok()?;
    (number.fract() == 0.0).then_some(number as i64)
}

fn etag(value: &Value) -> Option<String> {
    look_up(value, "attributes").and_then(|attributes| text(attributes, "etag"))
}

fn rename(value: &Value, spell: fn(&str) -> String) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (spell(name), rename(value, spell))).collect()
        }
        Value::Array(items) => items.iter().map(|item| rename(item, spell)).collect(),
        other => other.clone(),
    }
}

fn pascal_case(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
