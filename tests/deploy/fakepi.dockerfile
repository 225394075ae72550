# A machine with systemd, sshd and sudo in a container: Debian as Raspberry Pi OS is, without the Pi.
# It drives the engine of the machine that runs the tests, through the socket that is mounted into it.
ARG BASE=debian:trixie-slim
FROM ${BASE}
ENV container=docker
RUN rm -f /etc/apt/apt.conf.d/docker-clean /etc/dpkg/dpkg.cfg.d/docker /usr/sbin/policy-rc.d \
 && apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
      systemd systemd-sysv dbus libpam-systemd openssh-server sudo python3 curl rsync zstd iproute2 procps kmod \
      ca-certificates docker-cli docker-compose apt-utils
# Provisioning installs from a folder, for the machine under test has no network: this holds what it needs.
ARG PACKAGES
RUN mkdir /srv/packages \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends --download-only \
      -o Dir::Cache::archives=/srv/packages ${PACKAGES} \
 && cd /srv/packages && rm -rf partial lock && apt-ftparchive packages . > Packages \
 && rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/* \
 && echo 'deb [trusted=yes] file:/srv/packages ./' > /etc/apt/sources.list && apt-get update -q
ARG DOCKER_GID=999
RUN groupadd --non-unique --gid ${DOCKER_GID} docker \
 && useradd --uid 1000 --create-home --shell /bin/bash --groups sudo,docker pi \
 && echo 'pi ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/010_pi-nopasswd \
 && install -d -m 700 -o pi -g pi /home/pi/.ssh
# The engine is the host's. A unit of this name stands for it, so that others can be ordered after it and it can be
# "restarted"; a dockerd of its own must never start here, on the socket of the host.
RUN printf '%s\n' '[Unit]' 'Description=The engine of the host' '[Service]' 'Type=oneshot' 'RemainAfterExit=yes' \
      'ExecStart=/bin/true' 'ExecReload=/bin/true' '[Install]' 'WantedBy=multi-user.target' > /etc/systemd/system/docker.service \
 && systemctl enable docker.service && systemctl mask docker.socket containerd.service
# chrony may not set the clock, which is the host's, and finds no server: it asks another chrony, which trusts itself.
RUN mkdir -p /etc/chrony/conf.d /etc/systemd/system/chrony.service.d \
 && printf '%s\n' '[Unit]' 'ConditionCapability=' '[Service]' 'ExecStart=' 'ExecStart=!/usr/sbin/chronyd -x' \
      > /etc/systemd/system/chrony.service.d/test.conf \
 && echo 'server 127.0.0.1 port 11123 iburst minpoll 0 maxpoll 1' > /etc/chrony/conf.d/test.conf \
 && printf '%s\n' 'local stratum 1' 'port 11123' 'bindaddress 127.0.0.1' 'allow 127.0.0.1' 'cmdport 0' \
      'bindcmdaddress /' 'pidfile /run/test-ntp.pid' 'user root' > /etc/test-ntp.conf \
 && printf '%s\n' '[Unit]' 'ConditionPathExists=/usr/sbin/chronyd' 'Before=chrony.service' '[Service]' \
      'ExecStart=/usr/sbin/chronyd -x -n -f /etc/test-ntp.conf' '[Install]' 'WantedBy=multi-user.target' \
      > /etc/systemd/system/test-ntp.service && systemctl enable test-ntp.service
# there may be no user namespaces inside a container
RUN mkdir -p /etc/systemd/system/chrony-wait.service.d \
 && printf '%s\n' '[Service]' 'PrivateUsers=no' > /etc/systemd/system/chrony-wait.service.d/test.conf
# its disk need not outlive the host, and waiting for it is most of an installation
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/test
STOPSIGNAL SIGRTMIN+3
CMD ["/sbin/init"]
