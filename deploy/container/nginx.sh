#!/bin/sh
# Start nginx in a container: deploy/nginx.conf with what is different there. The processes listen
# on Unix sockets of a volume, nginx is an ordinary user who writes to /tmp only, and its log is the
# container's. SITE is the site's name, HTTPS_PORT the port by which browsers come.
set -eu
site=${SITE:-localhost}
port=${HTTPS_PORT:-443}
certificates=${CERTIFICATE_FOLDER:-/secrets/certificates}

sed -e '/^user /d' \
    -e 's|^pid .*|pid /tmp/nginx.pid;|' \
    -e 's|/var/log/nginx/error.log|/dev/stderr|' \
    -e 's|/var/log/nginx/access.log|/dev/stdout|' \
    -e 's|^http {|&\n    client_body_temp_path /tmp/body;\n    proxy_temp_path /tmp/proxy;\n    fastcgi_temp_path /tmp/fastcgi;\n    uwsgi_temp_path /tmp/uwsgi;\n    scgi_temp_path /tmp/scgi;|' \
    -e 's|127\.0\.0\.1:888\([0-9]\)|unix:/run/latchkey/\1.sock|' \
    -e 's|/etc/letsencrypt/live/latchkey/|'"$certificates"'/|' \
    -e 's|/var/www/acme|/tmp/acme|' \
    -e 's|listen 80 |listen 8080 |; s|listen \[::\]:80 |listen [::]:8080 |' \
    -e 's|listen 443 |listen 8443 |; s|listen \[::\]:443 |listen [::]:8443 |' \
    -e "s|https://example\\.com|https://$site$([ "$port" = 443 ] || echo ":$port")|" \
    -e "s|example\\.com|$site|" \
    /opt/latchkey/deploy/nginx.conf >/tmp/nginx.conf
exec nginx -c /tmp/nginx.conf -g 'daemon off;'
