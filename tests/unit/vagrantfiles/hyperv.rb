# Machines of the localk8s cluster demo, provider hyperv. Made by localk8s; changes here are overwritten.
# Brings bare machines up and nothing more: localk8s makes the cluster of them over ssh.
Vagrant.configure('2') do |config|
  config.vm.box = 'bento/debian-12'
  config.vm.box_version = '1.2'
  config.vm.box_check_update = false
  config.vm.boot_timeout = 900
  config.vm.graceful_halt_timeout = 180
  config.vm.synced_folder '.', '/vagrant', disabled: true
  config.ssh.insert_key = true
  config.ssh.forward_agent = false
  config.vbguest.auto_update = false if Vagrant.has_plugin?('vagrant-vbguest')

  config.vm.define 'demo' do |machine|
    machine.vm.hostname = 'demo'
    machine.vm.network 'public_network', bridge: 'Default Switch'
    machine.vm.disk :disk, size: '20GB', primary: true
    machine.vm.provider 'hyperv' do |hyperv|
      hyperv.vmname = 'lk8v-abcdef-demo'
      hyperv.linked_clone = true
      hyperv.memory = 2048
      hyperv.maxmemory = 2048
      hyperv.cpus = 2
    end
  end

  config.vm.define 'demo-2' do |machine|
    machine.vm.hostname = 'demo-2'
    machine.vm.network 'public_network', bridge: 'Default Switch'
    machine.vm.disk :disk, size: '20GB', primary: true
    machine.vm.provider 'hyperv' do |hyperv|
      hyperv.vmname = 'lk8v-abcdef-demo-2'
      hyperv.linked_clone = true
      hyperv.memory = 2048
      hyperv.maxmemory = 2048
      hyperv.cpus = 2
    end
  end

  config.vm.define 'demo-3' do |machine|
    machine.vm.hostname = 'demo-3'
    machine.vm.network 'public_network', bridge: 'Default Switch'
    machine.vm.disk :disk, size: '20GB', primary: true
    machine.vm.provider 'hyperv' do |hyperv|
      hyperv.vmname = 'lk8v-abcdef-demo-3'
      hyperv.linked_clone = true
      hyperv.memory = 2048
      hyperv.maxmemory = 2048
      hyperv.cpus = 2
    end
  end
end
