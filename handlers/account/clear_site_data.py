"""The header that makes a browser forget what a site has stored in it."""

from tornado.web import RequestHandler

# Not "cookies": that deletes those of other hosts of the domain, and those by which the sign-in
# knows this device. Our own cookie is expired by Set-Cookie.
_WHAT = '"cache", "storage"'


def clear_site_data(handler: RequestHandler) -> None:
    """Make the browser clear its cache and storage of this site (ASVS 14.3.1).

    For an end that the user wants to be thorough, because it may take a browser seconds. Browsers
    obey by https, and on localhost. Below --base-path other programs share the storage, so it is
    left alone.
    """
    if not handler.application.settings["base_path"]:
        handler.set_header("Clear-Site-Data", _WHAT)
