# Machines of the localk8s cluster demo, provider lxc. Made by localk8s; changes here are overwritten.
# Brings bare machines up and nothing more: localk8s makes the cluster of them over ssh.
Vagrant.configure('2') do |config|
  config.vm.box = 'localk8s-0123'
  config.vm.box_check_update = false
  config.vm.boot_timeout = 900
  config.vm.graceful_halt_timeout = 180
  config.vm.synced_folder '.', '/vagrant', disabled: true
  config.ssh.insert_key = true
  config.ssh.forward_agent = false
  config.vbguest.auto_update = false if Vagrant.has_plugin?('vagrant-vbguest')

  config.vm.define 'demo' do |machine|
    machine.vm.network 'forwarded_port', id: 'ssh', guest: 22, host: 2222, disabled: true
    machine.vm.provider 'lxc' do |lxc|
      lxc.container_name = 'lk8v-abcdef-demo'
      lxc.backingstore = 'dir'
      lxc.privileged = false
      lxc.tmpfs_mount_size = ''
      lxc.ssh_ip_addr = '192.168.56.10'
      # vagrant-lxc adds these to what the last boot left; naming the type first begins the card anew.
      lxc.customize 'net.0.type', 'veth'
      lxc.customize 'net.0.link', 'lk8v-abcdef'
      lxc.customize 'net.0.flags', 'up'
      lxc.customize 'net.0.name', 'eth0'
      lxc.customize 'net.0.hwaddr', '52:54:ab:cd:ef:01'
      lxc.customize 'net.0.ipv4.address', '192.168.56.10/24'
      lxc.customize 'cgroup.memory.limit_in_bytes', '2048M'
      lxc.customize 'cgroup.cpu.cfs_quota_us', '150000'
    end
  end

  config.vm.define 'demo-2' do |machine|
    machine.vm.network 'forwarded_port', id: 'ssh', guest: 22, host: 2222, disabled: true
    machine.vm.provider 'lxc' do |lxc|
      lxc.container_name = 'lk8v-abcdef-demo-2'
      lxc.backingstore = 'dir'
      lxc.privileged = false
      lxc.tmpfs_mount_size = ''
      lxc.ssh_ip_addr = '192.168.56.11'
      # vagrant-lxc adds these to what the last boot left; naming the type first begins the card anew.
      lxc.customize 'net.0.type', 'veth'
      lxc.customize 'net.0.link', 'lk8v-abcdef'
      lxc.customize 'net.0.flags', 'up'
      lxc.customize 'net.0.name', 'eth0'
      lxc.customize 'net.0.hwaddr', '52:54:ab:cd:ef:02'
      lxc.customize 'net.0.ipv4.address', '192.168.56.11/24'
      lxc.customize 'cgroup.memory.limit_in_bytes', '2048M'
      lxc.customize 'cgroup.cpu.cfs_quota_us', '150000'
    end
  end

  config.vm.define 'demo-3' do |machine|
    machine.vm.network 'forwarded_port', id: 'ssh', guest: 22, host: 2222, disabled: true
    machine.vm.provider 'lxc' do |lxc|
      lxc.container_name = 'lk8v-abcdef-demo-3'
      lxc.backingstore = 'dir'
      lxc.privileged = false
      lxc.tmpfs_mount_size = ''
      lxc.ssh_ip_addr = '192.168.56.12'
      # vagrant-lxc adds these to what the last boot left; naming the type first begins the card anew.
      lxc.customize 'net.0.type', 'veth'
      lxc.customize 'net.0.link', 'lk8v-abcdef'
      lxc.customize 'net.0.flags', 'up'
      lxc.customize 'net.0.name', 'eth0'
      lxc.customize 'net.0.hwaddr', '52:54:ab:cd:ef:03'
      lxc.customize 'net.0.ipv4.address', '192.168.56.12/24'
      lxc.customize 'cgroup.memory.limit_in_bytes', '2048M'
      lxc.customize 'cgroup.cpu.cfs_quota_us', '150000'
    end
  end
end
