# stands in for the official image of nginx, and has the programs of the other two
FROM scratch
COPY services /
RUN rm -f /etc/nginx/modules-enabled/*
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
