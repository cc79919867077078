// The cookies of a browser, for the official client and for pages.

export class Jar {
  cookies = new Map();

  parseCookies(values) {
    for (const value of values || []) {
      const [pair, ...flags] = value.split("; ");
      const name = pair.slice(0, pair.indexOf("="));
      if (flags.some((flag) => flag.toLowerCase() === "max-age=0")) this.cookies.delete(name);
      else this.cookies.set(name, { value: pair.slice(name.length + 1) });
    }
  }

  addCookies(xhr) {
    xhr.setDisableHeaderCheck(true);
    if (this.cookies.size) xhr.setRequestHeader("cookie", this.header());
  }

  header() {
    return [...this.cookies].map(([name, cookie]) => `${name}=${cookie.value}`).join("; ");
  }
}
